"""A trial's training: on pictures or on cached features, with one or several learning rates, going on where it was cut.

Gives the record's `training`, and leaves the model with the weights of its best epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.data.batches import Batches
from bench.device import Device, memory_share, out_of_memory
from bench.events import EpochEnded, Event, Note
from bench.models.classifier import Classifier
from bench.plugins import Model
from bench.protocol import Protocol
from bench.records import record as records
from bench.request import RunOptions, TrialSpec
from bench.train.graph import Graph
from bench.train.loop import Progress, Trainer, fit, make_trainer
from bench.train.optimizer import make_loss
from bench.train.parts import DoesNotFitError, in_parts, largest_that_fits, what_fits
from bench.train.prefix import Inputs, make_inputs
from bench.train.prefix.features import Source
from bench.train.probe import fit_probe
from bench.train.tuning import Tuned, tune


def train(
    spec: TrialSpec,
    asked: Model,
    model: Classifier,
    train: Batches,
    val: Batches,
    precision: str,
    emit: Callable[[Event], None],
) -> records.Training:
    """Train the model, once for each try where the protocol tunes; it is left with the best epoch's weights."""
    protocol, device = spec.protocol, train.device

    def warn(text: str) -> None:
        emit(Note(f"{spec.model}: {text}"))

    if protocol.train.what == "probe":
        told = warn if spec.options.fit else None
        fitted = fit_probe(model, train, val, protocol, spec.stored.classes, precision, told)
        emit(_epoch_of_probe(spec, fitted))
        return fitted
    inputs = make_inputs(model, train, val, protocol, precision, _own_share(spec), asked.split, spec.seed)
    parts: list[int | None] = []
    graphs: list[dict[str, Any] | None] = []

    def once(number: int, tried: Protocol) -> Progress:
        graph = make_graph(spec.options, precision, device)
        loss = make_loss(tried, spec.stored.classes, train.labels)
        trainer = make_trainer(model, tried, inputs.train.steps, precision, device, inputs.forward, graph, loss)
        trainer.warn = warn if spec.options.fit else None
        checkpoint = spec.checkpoint(asked, number)

        def epoch_ended(progress: Progress) -> None:
            emit(last_epoch(spec, number, progress))

        try:
            progress = fit(trainer, inputs.train, inputs.val, tried, spec.seed, checkpoint, epoch_ended, warn)
            parts.append(trainer.most)
            graphs.append(None if graph is None else graph.record())
            return progress
        except Exception as error:
            if not out_of_memory(error):
                raise
            said = str(error).partition("\n")[0] or type(error).__name__
        # Only here are the frames gone that hold what filled the memory.
        if graph is not None:
            graph.give_up("it did not fit")
        device.release_memory()
        raise DoesNotFitError(_what_fits(trainer, inputs.train, spec, said))

    record = training_record(tune(model, protocol, once), inputs, train)
    record.graph = graphs[-1]
    record.micro_batch = min((most for most in parts if most is not None), default=None)
    return record


def _own_share(spec: TrialSpec) -> RunOptions:
    """The trial's options, in which trials that run at once share what memory features take."""
    if spec.options.feature_memory is not None or spec.jobs == 1:
        return spec.options
    return replace(spec.options, feature_memory=memory_share(spec.jobs))


def _epoch_of_probe(spec: TrialSpec, fitted: records.Training) -> EpochEnded:
    history = fitted.history
    return EpochEnded(
        spec.model, spec.seed, 1, 1, history.train_loss[0], history.val_loss[0], history.val_top1[0], fitted.seconds
    )


def make_graph(options: RunOptions, precision: str, device: Device) -> Graph | None:
    """What replays the steps of a training that runs so; None where the device has no graphs."""
    if not device.has_graphs:
        return None
    if not options.graphs:
        return Graph(device, "switched off by --no-graphs")
    if options.compile:
        return Graph(device, "torch.compile starts the kernels in its own way")
    return Graph(device, "fp16's loss scaling waits for the device" if precision == "fp16" else None)


def _what_fits(trainer: Trainer, train: Source, spec: TrialSpec, said: str) -> str:
    images, labels = next(iter(train.shuffled(spec.seed, 0, spec.protocol.augmentation)))

    def computes(pictures: int) -> None:
        trainer.gradients(*next(in_parts(images, labels, pictures)))

    return what_fits(len(labels), largest_that_fits(computes, len(labels), trainer.device), said)


def last_epoch(spec: TrialSpec, number: int, progress: Progress) -> EpochEnded:
    """The event of the epoch that has just ended, in the try of that number."""
    epochs = spec.protocol.train.epochs
    return EpochEnded(
        model=spec.model,
        seed=spec.seed,
        epoch=number * epochs + progress.epochs,
        epochs=len(spec.protocol.tries) * epochs,
        train_loss=progress.train_loss[-1],
        val_loss=progress.val_loss[-1],
        val_top1=progress.val_top1[-1],
        seconds=progress.epoch_seconds[-1],
    )


def training_record(tuned: Tuned, inputs: Inputs, train: Batches) -> records.Training:
    """The record's `training`, of the try that validation chose.

    `epoch_seconds` is training alone; the other seconds count validation, checkpoints, and the features of a
    frozen prefix, too.
    """
    progress, protocol = tuned.progress, tuned.protocol
    made = records.Training(
        epochs=progress.epochs,
        best_epoch=progress.best_epoch,
        stopped_early=progress.epochs < protocol.train.epochs,
        seconds=inputs.seconds + sum(progress.seconds),
        epoch_seconds=progress.epoch_seconds,
        warm_up_epochs=progress.warm_up_epochs,
        seconds_to_best=inputs.seconds + sum(progress.seconds[: progress.best_epoch]),
        history=records.History(
            train_loss=progress.train_loss,
            val_loss=progress.val_loss,
            train_top1=progress.train_top1,
            val_top1=progress.val_top1,
            extra_loss=progress.extra_loss,
        ),
        frozen_prefix=inputs.frozen_prefix,
        tuning=tuned.record() if protocol.tuning.is_on else None,
    )
    if made.seconds_per_epoch is not None:
        made.images_per_second = min(len(train), train.steps * train.batch_size) / made.seconds_per_epoch
    return made

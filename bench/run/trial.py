"""One model, one seed, one protocol → one Record. The main road, top to bottom.

    data → model → what is trainable → train → evaluate → keep → measure

A trial never raises for what goes wrong inside it: the record says what it was. Only RequestError
passes, for a request that should have been refused before. Measuring comes last: whatever it does, what
was trained and evaluated is on disk.
"""

from __future__ import annotations

import itertools
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.data.batches import Batches
from bench.data.in_use import in_use
from bench.device import memory_share, out_of_memory
from bench.errors import RequestError
from bench.events import Event, Measuring, Note
from bench.files import write_bytes
from bench.hookspecs import Subject, Trained
from bench.measure import Found, measure
from bench.measure.environment import environment
from bench.measure.subject import InferenceOptions
from bench.models.classifier import Classifier
from bench.models.compiling import compiled_if
from bench.models.kept import KeptModel, write_model
from bench.plugins import Model, Registry, load_plugins
from bench.records import record as records
from bench.records.record import Record
from bench.records.tensorboard import write_scalars
from bench.request import TrialSpec
from bench.run.describe import describe_model
from bench.run.failure import keep_failure
from bench.run.keep import NEW, PICTURES, put_in_place, rewrite, settle, write_predictions
from bench.run.leftovers import remove_checkpoints
from bench.run.lock import sole_user
from bench.run.outline import known_of, outline
from bench.run.prepare import Prepared, PreparedSubject, prepare
from bench.run.thumbnails import pictures_file
from bench.train.loop import DivergedError, Evaluation, Trainer, evaluate, make_trainer
from bench.train.metrics import accuracy
from bench.train.parts import DoesNotFitError
from bench.train.training import train

# Of latency: the fewest that fill the blocks of its interval.
ROUNDS = 8


def run(spec: TrialSpec, emit: Callable[[Event], None] = lambda event: None) -> Record:
    """Run the trial and write its record, predictions and log into `spec.folder`.

    BusyError where another run is at it.
    """
    started = time.perf_counter()
    plugins = plugins_of(spec)
    asked = plugins.model(spec.model)
    record = outline(spec, known_of(asked, spec.protocol))
    if spec.known is not None and spec.known.code != record.model.code:
        places = " or ".join(dict.fromkeys(plugin.place for plugin in asked.plugins))
        raise RequestError(f"{places} was changed while the run was under way; run again")
    with sole_user(spec.folder), in_use(spec.stored.folder):
        settle(spec.folder)
        if spec.fresh:
            remove_checkpoints(spec, asked)
        try:
            prepared, test = _train_and_evaluate(spec, asked, record, emit)
            record.status = "ok"
        except RequestError:
            raise
        except Exception as error:
            traceback.print_exc(file=sys.stderr)  # the log; the record has the one line
            record.status = status_of(error)
            record.error = records.Failure.of(error)
        record.seconds = time.perf_counter() - started
        if record.status != "ok":
            if keep_failure(spec.folder, record):
                write_scalars(spec.folder, record)
            return record
        put_in_place(spec.folder, record)
        if spec.plugins is not None and not {*spec.measuring} <= {*spec.plugins}:
            plugins = plugins_of(spec, measuring=True)  # not before: they are strangers to this model
        most = record.training.micro_batch if record.training else None
        measure_trained(spec, trained_subject(spec, prepared, test, most), plugins, record, emit)
        record.seconds = time.perf_counter() - started
        rewrite(spec.folder, record)
        remove_checkpoints(spec, asked)
    return record


def plugins_of(spec: TrialSpec, measuring: bool = False) -> Registry:
    """The bundled plugins, and those that the model needs; those that measure, too, where they are asked for."""
    only = None if spec.plugins is None else (*spec.plugins, *(spec.measuring if measuring else ()))
    return load_plugins(spec.place.plugins, spec.place.working_directory, only=only)


def _train_and_evaluate(
    spec: TrialSpec, asked: Model, record: Record, emit: Callable[[Event], None]
) -> tuple[Prepared, Evaluation]:
    """Fill in the record up to the accuracy, and write all that is kept beside it."""
    place, deterministic = spec.place.device, spec.options.deterministic
    if spec.way is not None and spec.way.threads is not None:
        torch.set_num_threads(spec.way.threads)
    memory = memory_share(spec.jobs) if spec.options.picture_memory is None else spec.options.picture_memory
    prepared = prepare(
        asked, spec.protocol, spec.stored, spec.seed, place, spec.weights, deterministic=deterministic, memory=memory
    )
    model, batches, precision, device = prepared.model, prepared.batches, prepared.precision, prepared.device
    circumstances: dict[str, Any] = {"options": spec.options.record(), "sharing": spec.sharing}
    circumstances["pictures"] = {part: one.kept_in for part, one in batches.items()}
    circumstances |= {"until": dict(spec.until)} if spec.until else {}
    record.environment = environment(device, precision=precision) | circumstances
    describe_model(record.model, spec, prepared)

    record.training = train(spec, asked, model, batches["train"], batches["val"], precision, emit)
    model.zero_grad()
    device.release_memory()  # gradients, and the features of a frozen prefix

    # The best epoch's weights, once.
    test = evaluate(model, batches["test"], precision, device, most=record.training.micro_batch)
    best_val_top1 = record.training.history.val_top1[record.training.best_epoch - 1]
    new = spec.folder / NEW
    enter_accuracy(record, spec, test, best_val_top1, batches["test"], new)
    if spec.options.keep_weights:
        write_model(new, model, KeptModel.of(asked, spec.protocol, spec.stored.classes, batches["test"].preparation))
    labels, probabilities = test.labels.numpy(), test.probabilities.float().numpy()
    pictures = pictures_file(spec.stored, batches["train"].subset, batches["test"].subset, labels, probabilities)
    write_bytes(new / PICTURES, pictures)
    for part in ("val", "test"):
        batches[part].leave_device()
    return prepared, test


def enter_accuracy(
    record: Record, spec: TrialSpec, test: Evaluation, val_top1: float, batches: Batches, folder: Path
) -> None:
    """Enter what the test says, and write its predictions into the folder."""
    labels, probabilities = test.labels.numpy(), test.probabilities.float().numpy()
    record.accuracy = records.Accuracy.model_validate(
        accuracy(test.probabilities.numpy(), labels, spec.stored.classes, test.loss, val_top1)
    )
    record.predictions_sha256 = write_predictions(folder, labels, probabilities, batches.subset)


def measure_trained(
    spec: TrialSpec, subject: PreparedSubject, registry: Registry, record: Record, emit: Callable[[Event], None]
) -> None:
    """Fill in the rest of the record: briefly; `python -m bench measure` takes its time."""
    found = Found()
    wanted = {
        name: (one, plugin)
        for name, (one, plugin) in registry.measurements.items()
        if name not in spec.unmeasured
        and not (spec.sharing > 1 and (one.alone or one.timed is not None))
        and one.is_wanted(spec.options.measure)
    }
    for name, failure in spec.unmeasured.items():
        found.fail(*registry.measurements[name], failure)
    done = itertools.count()

    def begins(_: Subject, name: str) -> None:
        emit(Measuring(spec.model, name, next(done), len(wanted), brief=True))

    measure([(subject, found)], wanted.values(), begins)
    record.efficiency, record.plugins, record.quantities = found.efficiency, found.plugins, found.quantities
    for name, failure in found.failures.items():
        if name in wanted:
            emit(Note(f"{record.model.name}: {name} could not be measured: {failure}"))


def trained_subject(spec: TrialSpec, prepared: Prepared, test: Evaluation, most: int | None = None) -> PreparedSubject:
    """The trained model as measurements see it; its training goes on where the trial's ended."""
    protocol, train_batches, device = spec.protocol, prepared.batches["train"], prepared.device
    largest = min(train_batches.batch_size, len(train_batches), most or len(train_batches))  # no more than training had
    later = itertools.count(protocol.train.epochs)
    training_batches = itertools.chain.from_iterable(
        train_batches.shuffled(spec.seed, epoch, protocol.augmentation) for epoch in later
    )
    way, tested = spec.options, prepared.batches["test"]

    def make(model: Classifier) -> Trainer:
        forward = compiled_if(way.compile, model, way.compile_mode)
        trainer = make_trainer(model, protocol, train_batches.steps, prepared.precision, device, forward)
        return replace(trainer, most=most)

    return PreparedSubject(
        name=spec.model,
        shape=prepared.model,
        make_model=lambda: prepared.model,
        make_trainer=make,
        fetch=lambda: next(training_batches),
        image_size=protocol.data.image_size,
        device=device,
        options=InferenceOptions(prepared.precision, compile=way.compile, compile_mode=way.compile_mode),
        brief=True,
        rounds=ROUNDS,
        batches=tuple(sorted({min(8, largest), largest})),
        folder=spec.folder,
        trained=Trained(spec.seed, protocol, test, tested.in_order, tested.preparation.mean, tested.preparation.std),
    )


def status_of(error: Exception) -> records.Status:
    """The record's word for what went wrong."""
    if isinstance(error, DivergedError):
        return "diverged"
    return "oom" if isinstance(error, DoesNotFitError) or out_of_memory(error) else "error"

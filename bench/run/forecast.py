"""What a trial will need and take, from its model, its pictures and a few measured steps: nothing of it is kept."""

from __future__ import annotations

import itertools
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

import torch

from bench.data.batches import Batches
from bench.data.splits import subsets
from bench.device import choose_device
from bench.errors import RequestError
from bench.events import Note, Tell
from bench.measure.foreseen import Step, training_peak
from bench.models.classifier import build_weightless, preparation
from bench.models.freezing import freeze, train_mode
from bench.plugins import Model, load_plugins
from bench.protocol import Protocol
from bench.request import Forecast, TrialSpec
from bench.run.prepare import prepare_device, prepare_model
from bench.train.loop import Trainer, evaluate, make_trainer, train_epoch
from bench.train.optimizer import make_loss
from bench.train.prefix import make_inputs
from bench.train.prefix.features import Source
from bench.train.training import make_graph

# Batches that are trained on, again and again, for so many seconds at least.
STEPS, SECONDS = 4, 2.0
# What else a trial does, in seconds: building and writing; and, for each step, what measures it. Read off 24 trials of
# 12 models on two CPU cores (5.6 to 9.2 s beside their training, with steps of 0.09 to 0.31 s).
BUILDING, STEPS_MEASURED = 5.0, 9.0


def forecast(spec: TrialSpec, emit: Tell) -> Forecast:
    """The bytes of a training step, and the seconds of the trial; None for what cannot be found out, which is told."""
    asked = load_plugins(spec.place.plugins, spec.place.working_directory, only=spec.plugins).model(spec.model)
    try:
        peak = _peak(spec, asked)
    except RequestError:
        raise
    except Exception as error:  # of a model that looks at values, or another's mistake
        traceback.print_exc()
        emit(Note(f"{spec.model}: its memory cannot be foreseen: {type(error).__name__}: {error}".partition("\n")[0]))
        peak = None
    if spec.protocol.train.what == "probe":
        emit(Note(f"{spec.model}: how long a probe takes is known from an earlier one alone"))
        return Forecast(peak, None)
    try:
        seconds, step = _seconds(spec, asked)
        return Forecast(peak, seconds, step)
    except RequestError:
        raise
    except Exception as error:
        traceback.print_exc()
        emit(Note(f"{spec.model}: its steps cannot be timed: {type(error).__name__}: {error}".partition("\n")[0]))
        return Forecast(peak, None)


def _peak(spec: TrialSpec, asked: Model) -> int:
    protocol, classes = spec.protocol, len(spec.stored.classes)
    _, precision = prepare_device(spec.place.device, protocol.train.precision)
    size, side = _batch(spec), protocol.data.image_size
    model = build_weightless(asked, protocol, classes)
    freeze(model, protocol.train.what, asked.last_block, asked.name)
    train_mode(model)

    def make_step() -> tuple[Step, torch.optim.Optimizer]:
        # Whatever the device, shapes are counted as in main memory.
        trainer = make_trainer(model, protocol, 1, precision, choose_device("cpu"))
        return trainer.step, trainer.optimizer

    return training_peak(model, (size, side, classes), make_step)


def _batch(spec: TrialSpec) -> int:
    return min(spec.protocol.train.batch_size, spec.counts["train"])


def _seconds(spec: TrialSpec, asked: Model) -> tuple[float, float]:
    """Of the whole trial, and of a step: a few batches are trained on for a moment, and what that took is drawn out."""
    protocol, counts = spec.protocol, spec.counts
    device, precision = prepare_device(
        spec.place.device, protocol.train.precision, deterministic=spec.options.deterministic
    )
    if spec.way is not None and spec.way.threads is not None:
        torch.set_num_threads(spec.way.threads)
    model = prepare_model(asked, protocol, len(spec.stored.classes), spec.seed, device, spec.weights)
    prepared = preparation(model.backbone, protocol.data.image_size, protocol.data.resize)
    size = _batch(spec)
    batches = {
        part: Batches(spec.stored, replace(subset, indices=subset.indices[: STEPS * size], labels=None), prepared, size,
                      device)
        for part, subset in subsets(spec.stored, protocol).items()
    }  # fmt: skip
    few = {part: len(one) for part, one in batches.items()}
    evaluate(model, batches["test"], precision, device)  # kernels are chosen, code is compiled
    inputs = make_inputs(
        model, batches["train"], batches["val"], protocol, precision, spec.options, asked.split, spec.seed
    )
    long = _endless(protocol)
    graph = make_graph(spec.options, precision, device)
    loss = make_loss(long, spec.stored.classes, batches["train"].labels)
    trainer = make_trainer(model, long, inputs.train.steps, precision, device, inputs.forward, graph, loss)
    step = _seconds_per_step(trainer, inputs.train, protocol, spec.seed)
    validating = _classifying(lambda: evaluate(model, inputs.val, precision, device, inputs.forward), few["val"])
    testing = _classifying(lambda: evaluate(model, batches["test"], precision, device), few["test"])
    epoch = step * math.ceil(counts["train"] / size) + validating * counts["val"]
    features = inputs.seconds * (counts["train"] + counts["val"]) / (few["train"] + few["val"])
    training = features + len(protocol.tries) * protocol.train.epochs * epoch
    return training + testing * counts["test"] + BUILDING + STEPS_MEASURED * step, step


def _seconds_per_step(trainer: Trainer, train: Source, protocol: Protocol, seed: int) -> float:
    """As training takes its batches, after the first few steps."""
    batches = itertools.chain.from_iterable(
        train.shuffled(seed, epoch, protocol.augmentation) for epoch in itertools.count()
    )
    train_epoch(trainer, itertools.islice(batches, STEPS))
    steps, began = 0, time.perf_counter()
    while steps < STEPS or time.perf_counter() - began < SECONDS:
        train_epoch(trainer, itertools.islice(batches, STEPS))
        steps += STEPS
    return (time.perf_counter() - began) / steps


def _classifying(evaluated: Callable[[], object], pictures: int) -> float:
    """Seconds a picture."""
    began = time.perf_counter()
    evaluated()
    return (time.perf_counter() - began) / pictures


def _endless(protocol: Protocol) -> Protocol:
    """With so many epochs that no schedule ends."""
    return protocol.model_copy(update={"train": protocol.train.model_copy(update={"epochs": 1_000_000})})

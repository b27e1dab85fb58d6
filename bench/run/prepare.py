"""From a name to a model that is ready: on the device, seeded, frozen, with its batches; and ready to be measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.batches import Batch, Batches
from bench.data.cache import Stored
from bench.data.splits import subsets
from bench.device import Device, choose_device, memory_share, native_bf16, require_deterministic
from bench.errors import RequestError
from bench.hookspecs import Trained
from bench.measure.subject import Inference, InferenceOptions
from bench.models.classifier import Classifier, build_classifier, preparation
from bench.models.freezing import freeze, train_mode
from bench.plugins import Model
from bench.protocol import Protocol
from bench.request import Weights
from bench.train.graph import WARM_UP, CannotRecordError, Graph
from bench.train.loop import Trainer


@dataclass(frozen=True)
class Prepared:
    """A model and its batches by part (train, val, test), with what was chosen for them."""

    device: Device
    precision: str
    model: Classifier
    batches: dict[str, Batches]


def prepare(
    asked: Model,
    protocol: Protocol,
    stored: Stored,
    seed: int,
    device: str,
    weights: Weights | None = None,
    *,
    deterministic: bool = False,
    memory: int | None = None,
) -> Prepared:
    """All that a trial trains and is tested with; `memory` as of `prepare_batches`."""
    place, precision = prepare_device(device, protocol.train.precision, deterministic=deterministic)
    model = prepare_model(asked, protocol, len(stored.classes), seed, place, weights)
    return Prepared(place, precision, model, prepare_batches(protocol, stored, model, place, memory))


def prepare_device(name: str, precision: str, *, deterministic: bool = False) -> tuple[Device, str]:
    """The device of that name, computing as trials do and are measured; and in which precision that is.

    `auto` is the fastest that the device multiplies by itself. Raises RequestError where there is no such device, or
    where it does not know the precision.
    """
    if deterministic:
        require_deterministic()
    device = choose_device(name)
    if precision == "auto":
        precision = "bf16" if native_bf16(device) else "fp32"
    if precision == "tf32" and not device.multiplies_tf32:
        raise RequestError(
            "precision tf32: this device does not compute in it, an NVIDIA GPU since Ampere does; use fp32"
        )
    device.choose_kernels(precision, deterministic=deterministic)
    return device, precision


def prepare_model(
    asked: Model, protocol: Protocol, classes: int, seed: int, device: Device, weights: Weights | None = None
) -> Classifier:
    """The model on the device: random where it is, by the seed; what the protocol freezes, frozen."""
    torch.manual_seed(seed)
    model = build_classifier(asked, protocol, classes, weights)
    freeze(model, protocol.train.what, asked.last_block, asked.name)
    return device.place(model)


def prepare_batches(
    protocol: Protocol, stored: Stored, model: Classifier, device: Device, memory: int | None = None
) -> dict[str, Batches]:
    """The pictures of each part as that model wants them.

    Parts that fit into `memory` bytes of main memory, training's first, are there; the others stay on the disk. By
    default that is half of what is free.
    """
    data, size = protocol.data, protocol.train.batch_size
    prepared = preparation(model.backbone, data.image_size, data.resize)
    left, made = memory_share() if memory is None else memory, {}
    for part, subset in subsets(stored, protocol).items():
        needed = stored.rows(subset.part, subset.indices).nbytes
        made[part] = Batches(stored, subset, prepared, size, device, in_memory=needed <= left)
        left -= needed if made[part].kept_in == "memory" else 0
    return made


@dataclass(frozen=True)
class TrainingCopy:
    """A model that may train, since it is nobody else's: see hookspecs.Training."""

    trainer: Trainer
    fetch: Callable[[], Batch]

    @property
    def model(self) -> nn.Module:
        forward = self.trainer.forward  # where it is compiled, that is what is called
        return forward if isinstance(forward, nn.Module) else self.trainer.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizer

    def batch(self) -> Batch:
        return self.fetch()

    def step(self, images: Tensor, labels: Tensor) -> object:
        return self.trainer.step(images, labels)

    def graph(self) -> Callable[[], object]:
        graph = Graph(self.trainer.device)
        trainer = replace(self.trainer, graph=graph)
        for _ in range(WARM_UP + 1):
            trainer.step(*self.fetch())
        if graph.why_not is not None:
            raise CannotRecordError(graph.why_not)
        return lambda: trainer.step(*self.fetch())


@dataclass(frozen=True)
class PreparedSubject:
    """What is measured, for trials and for `measure` alike: see hookspecs.Subject.

    The model and its copies are made when first asked for; `make_trainer` is given the copy that trains.
    """

    name: str
    shape: Classifier
    make_model: Callable[[], Classifier]
    make_trainer: Callable[[Classifier], Trainer]
    fetch: Callable[[], Batch]
    image_size: int
    device: Device
    options: InferenceOptions
    brief: bool
    rounds: int
    batches: tuple[int, ...]
    folder: Path
    trained: Trained | None = None

    @property
    def precision(self) -> str:
        return self.options.precision

    @cached_property
    def model(self) -> Classifier:
        return self.make_model().eval()

    @cached_property
    def training(self) -> TrainingCopy:
        model = copy.deepcopy(self.model)
        train_mode(model)
        return TrainingCopy(self.make_trainer(model), self.fetch)

    @cached_property
    def _inference(self) -> Inference:
        return Inference(self.model, self.image_size, self.device, self.options)

    def inference(self, batch: int) -> Callable[[], Tensor]:
        return self._inference.with_batch(batch)

    def graph(self, batch: int) -> Callable[[], object]:
        return self._inference.graph(batch)

    @property
    def inference_bytes(self) -> int:
        return self._inference.parameter_bytes

    def inference_options(self) -> dict[str, Any]:
        return self._inference.describe()

    def forget_training(self) -> None:
        """Give back the memory of the copy that trained; another is made where one is wanted again."""
        vars(self).pop("training", None)

"""The training loop, and evaluation: one for all models.

An epoch trains on every batch, validates, and is remembered in a checkpoint, where that costs little, or once a
minute; the weights of the epoch with the best validation top-1 are kept, of equal ones those with the lowest
validation loss. A trial that was killed goes on after the epoch of its checkpoint, as if it had not been: order,
augmentation and dropout of an epoch follow from the seed and its number.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from bench.data.batches import epoch_seed
from bench.device import Device, out_of_memory
from bench.kernels import has_slow_convolutions
from bench.models.classifier import Classifier
from bench.models.freezing import train_mode
from bench.protocol import Protocol, Train
from bench.train.checkpoint import DamagedError, Writer, in_main_memory, read_checkpoint, set_aside
from bench.train.graph import Graph, holds_update
from bench.train.optimizer import Loss, make_loss, make_optimizer, make_schedule
from bench.train.parts import halved, in_parts
from bench.train.prefix.features import Forward, Source
from bench.train.state import Average, State, copied, trained_state


class DivergedError(Exception):
    """The training loss is no longer a number, after so many epochs and seconds."""

    def __init__(self, message: str, epochs: int, seconds: float) -> None:
        super().__init__(message)
        self.epochs = epochs
        self.seconds = seconds


@dataclass
class Progress:
    """What training has come to, epoch by epoch; the best epoch counts from 1: the best validation top-1, of equal ones
    that with the lowest validation loss.

    `epoch_seconds` is the training of each epoch, `seconds` its validation and checkpoint too.
    """

    train_loss: list[float] = field(default_factory=list)
    train_top1: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_top1: list[float] = field(default_factory=list)
    extra_loss: list[float] = field(default_factory=list)  # empty where the model has no loss term of its own
    epoch_seconds: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    warm_up_epochs: list[int] = field(default_factory=list)  # the first of each process
    best_epoch: int = 0

    @property
    def epochs(self) -> int:
        return len(self.epoch_seconds)

    @property
    def best_val_top1(self) -> float:
        return self.val_top1[self.best_epoch - 1]

    @property
    def best(self) -> tuple[float, float]:
        """By which trainings of one model are compared, more being better: validation top-1, then minus its loss."""
        return self.val_top1[self.best_epoch - 1], -self.val_loss[self.best_epoch - 1]

    def validated(self, loss: float, top1: float) -> bool:
        """Enter an epoch's validation; whether it is the best so far."""
        self.val_loss.append(loss)
        self.val_top1.append(top1)
        if self.best_epoch and (top1, -loss) <= self.best:
            return False
        self.best_epoch = len(self.val_top1)
        return True

    def is_over(self, train: Train) -> bool:
        """Whether all epochs are trained, or `patience` of them without a better validation top-1; a lower loss alone
        is none."""
        since = self.epochs - self.val_top1.index(max(self.val_top1)) - 1 if self.val_top1 else 0
        return self.epochs >= train.epochs or 0 < train.patience <= since


class Step(NamedTuple):
    """What a training step gives, detached: the mean loss, the logits (B, classes), the model's own term."""

    loss: torch.Tensor
    logits: torch.Tensor
    extra: torch.Tensor | None


@dataclass
class Trainer:
    """A model with all that one training step needs."""

    model: Classifier
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    precision: str
    device: Device
    # What takes a batch to its logits in place of the model: what remains behind a frozen prefix, or a compiled one.
    forward: Forward | None = None
    loss: Loss = functional.cross_entropy
    # Of how many pictures a part of a batch is at most; None: batches are computed whole.
    most: int | None = None
    # Told where a batch does not fit and is computed in parts; None: then it is an error.
    warn: Callable[[str], None] | None = None
    # Replays steps where the device has graphs, and whether the optimizer's update is part of them.
    graph: Graph | None = None
    updates_in_graph: bool = False
    # To what norm gradients are scaled down at most; 0: they are left as they are.
    clip_norm: float = 0.0
    # Of the weights, over the steps: what is evaluated and kept, where there is one.
    average: Average | None = None

    @cached_property
    def _convolutions(self) -> bool:
        return has_slow_convolutions(self.model)

    def step(self, inputs: Any, labels: torch.Tensor) -> Step:
        """Forward, backward, optimizer. What is minimised is the loss and, where the model has one, its own term.

        Where the batch does not fit and `warn` is there to be told, it is computed in parts from then on.
        """
        while True:
            try:
                if self.graph is None:
                    done = self._begun(inputs, labels)
                else:
                    done = self.graph.carry_out(self._begun, inputs, labels)
                break
            except Exception as error:
                if self.warn is None:
                    raise
                held, self.most = halved(error, len(labels), self.most)
            # Only here are the frames gone that hold what filled the memory.
            if self.graph is not None:
                self.graph.give_up("batches are computed in parts")
            self.device.release_memory()
            self.warn(
                f"out of memory in parts of {held} pictures: each batch is computed in parts of {self.most}, with the "
                "same update; batch norm sees the parts"
            )
        if not self.updates_in_graph:
            self._update()
        if self.average is not None:
            self.average.update()
        return done

    def _begun(self, inputs: Any, labels: torch.Tensor) -> Step:
        done = self.gradients(inputs, labels)
        if self.updates_in_graph:
            self._update()
        return done

    def _update(self) -> None:
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def gradients(self, inputs: Any, labels: torch.Tensor) -> Step:
        """Forward and backward: the gradients of the batch, whatever parts it is computed in."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = []
        for part, own in in_parts(inputs, labels, self.most):
            with self.device.training(self.precision, convolutions=self._convolutions):
                logits = (self.model if self.forward is None else self.forward)(part)
                extra = self.model.training_loss()
            loss = self.loss(logits.float(), own)
            whole = loss if extra is None else loss + extra
            share = len(own) / len(labels)
            self.scaler.scale(whole if share == 1 else whole * share).backward()  # type: ignore[no-untyped-call]
            parts.append((share, Step(loss.detach(), logits.detach(), None if extra is None else extra.detach())))
        if len(parts) == 1:
            return parts[0][1]
        extras = [share * step.extra for share, step in parts if step.extra is not None]
        return Step(
            torch.stack([share * step.loss for share, step in parts]).sum(),
            torch.cat([step.logits for _, step in parts]),
            torch.stack(extras).sum() if extras else None,
        )

    def checkpoint(self, progress: Progress, best: State) -> dict[str, Any]:
        """All that is needed to go on after this epoch: the tensors themselves, which training changes."""
        # The best epoch's own tensors where this is the best epoch: they are then stored once.
        is_best = progress.best_epoch == progress.epochs and self.average is None
        own = best if is_best else trained_state(self.model)
        return {"model": own, "best": best, "progress": asdict(progress)} | self._state()

    def _state(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}
        parts |= {} if self.average is None else {"average": self.average}
        return {name: part.state_dict() for name, part in parts.items()}

    def load(self, saved: dict[str, Any]) -> tuple[Progress, State]:
        """Go back to where `checkpoint` was called; gives the progress and the best epoch's state, `saved`'s own.

        Raises DamagedError where `saved` is of another training; then all is as it was. Where memory runs out, that is
        raised: the checkpoint is as good as before.
        """
        # In main memory: a training that goes on must fit where it has begun.
        before = copy.deepcopy(self._state())
        start = in_main_memory(trained_state(self.model), {})
        try:
            shapes = {name: tensor.shape for name, tensor in start.items()}
            for kind in ("model", "best"):
                if {name: tensor.shape for name, tensor in saved[kind].items()} != shapes:
                    raise ValueError(f"its {kind} has other tensors")
            if saved["progress"].keys() != asdict(Progress()).keys():
                raise ValueError("its progress is of another version of bench")
            progress = Progress(**saved["progress"])
            if not 0 < progress.best_epoch <= progress.epochs == len(progress.val_top1) == len(progress.seconds):
                raise ValueError("its progress is none")
            self._put(saved["model"], saved)
        except Exception as error:  # what is not of this training may fail anywhere
            if out_of_memory(error):
                raise
            self._put(start, before)
            raise DamagedError(f"{type(error).__name__}: {error}".partition("\n")[0]) from None
        return progress, saved["best"]

    def _put(self, state: State, parts: dict[str, Any]) -> None:
        self.model.load_state_dict(state, strict=False)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(parts["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if isinstance(rate, torch.Tensor):  # on the device, where a graph reads it
                group["lr"] = torch.as_tensor(group["lr"], dtype=rate.dtype, device=rate.device)
        self.schedule.load_state_dict(parts["schedule"])
        self.scaler.load_state_dict(parts["scaler"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])


def make_trainer(
    model: Classifier,
    protocol: Protocol,
    steps: int,
    precision: str,
    device: Device,
    forward: Forward | None = None,
    graph: Graph | None = None,
    loss: Loss | None = None,
) -> Trainer:
    """The model with the protocol's optimizer over what trains, and its schedule for epochs of `steps` batches.

    `forward` computes the logits in place of the model itself; `graph` replays its steps; `loss` is the protocol's
    where the classes weigh differently.
    """
    updates = graph is not None and graph.why_not is None and holds_update(protocol, device)
    optimizer = make_optimizer(model, protocol, device if updates else None)
    schedule = make_schedule(optimizer, protocol, steps)
    scaler = device.gradient_scaler(precision)
    return Trainer(
        model,
        optimizer,
        schedule,
        scaler,
        precision,
        device,
        forward,
        loss or make_loss(protocol),
        most=protocol.train.micro_batch or None,
        graph=graph,
        updates_in_graph=updates,
        clip_norm=protocol.optimizer.clip_norm,
        average=Average(model, protocol.train.ema) if protocol.train.ema else None,
    )


def fit(
    trainer: Trainer,
    train: Source,
    val: Source,
    protocol: Protocol,
    seed: int,
    checkpoint: Path,
    epoch_ended: Callable[[Progress], None],
    warn: Callable[[str], None] = print,
) -> Progress:
    """Train by the protocol; the model is left with the weights of the best epoch.

    Goes on from `checkpoint` where it exists, and keeps it up to date; `warn` is told where it is damaged. Raises
    DivergedError, and StorageError where the checkpoint cannot be written.
    """
    progress, best = go_on(trainer, checkpoint, warn)
    with Writer(checkpoint) as writer:
        best = _train(trainer, train, val, protocol, seed, progress, best, writer, epoch_ended)
    trainer.model.load_state_dict(best, strict=False)
    return progress


def _train(
    trainer: Trainer,
    train: Source,
    val: Source,
    protocol: Protocol,
    seed: int,
    progress: Progress,
    best: State,
    writer: Writer,
    epoch_ended: Callable[[Progress], None],
) -> State:
    """The epochs that are left; gives the best one's state, and enters them into `progress`."""
    model = trainer.model
    if not progress.is_over(protocol.train):
        progress.warm_up_epochs.append(progress.epochs + 1)
    while not progress.is_over(protocol.train):
        epoch = progress.epochs
        started = time.perf_counter()
        torch.manual_seed(epoch_seed(seed, epoch))  # for dropout
        loss, top1, extra = train_epoch(trainer, train.shuffled(seed, epoch, protocol.augmentation))
        trainer.device.synchronize()
        progress.epoch_seconds.append(time.perf_counter() - started)
        if not math.isfinite(loss + (extra or 0)):
            became = loss if extra is None else f"{loss} + {extra}"
            message = f"the training loss became {became} in epoch {epoch + 1}; a lower learning rate may help"
            raise DivergedError(message, epoch + 1, sum(progress.seconds) + progress.epoch_seconds[-1])
        with nullcontext() if trainer.average is None else trainer.average.in_place():
            validated = evaluate(model, val, trainer.precision, trainer.device, trainer.forward, trainer.most)
        if not math.isfinite(validated.loss):
            message = f"the validation loss became {validated.loss} in epoch {epoch + 1}"
            raise DivergedError(message, epoch + 1, sum(progress.seconds) + progress.epoch_seconds[-1])
        progress.train_loss.append(loss)
        progress.train_top1.append(top1)
        progress.extra_loss += [] if extra is None else [extra]
        if progress.validated(validated.loss, validated.top1):
            best = copied(trained_state(model) if trainer.average is None else trainer.average.state)
        progress.seconds.append(time.perf_counter() - started)
        if writer.is_due or progress.is_over(protocol.train):
            writer.write(trainer.checkpoint(progress, best))
            progress.seconds[-1] = time.perf_counter() - started  # what training had to wait for it, too
        epoch_ended(progress)
    return best


def go_on(trainer: Trainer, checkpoint: Path, warn: Callable[[str], None]) -> tuple[Progress, State]:
    """The progress and the best epoch's state of the checkpoint; of a training that begins where there is none.

    One that is damaged is set aside, with a line.
    """
    try:
        saved = read_checkpoint(checkpoint)
        if saved is not None:
            return trainer.load(saved)
    except DamagedError as error:
        aside = set_aside(checkpoint)
        warn(f"{checkpoint} is damaged ({error}): it is now {aside.name}, and training starts anew")
    return Progress(), copied(trained_state(trainer.model))


def train_epoch(trainer: Trainer, batches: Iterator[tuple[Any, torch.Tensor]]) -> tuple[float, float, float | None]:
    """Train on each batch once; gives the mean cross-entropy and the top-1 of the passes that trained.

    The third is the mean of the model's own loss term, None where it has none.
    """
    train_mode(trainer.model)
    # Summed on the device, and read once: reading at each step would make it wait.
    loss_sum = torch.zeros((), device=trainer.device.torch_device)
    correct = torch.zeros((), device=trainer.device.torch_device)
    extra_sum: torch.Tensor | None = None
    seen = 0
    for inputs, labels in batches:
        loss, logits, extra = trainer.step(inputs, labels)
        trainer.schedule.step()
        loss_sum += loss * len(labels)
        # Of a mixture the class with the larger share.
        classes = labels if labels.ndim == 1 else labels.argmax(1)
        correct += (logits.argmax(1) == classes).sum()
        if extra is not None:
            extra_sum = extra * len(labels) + (0 if extra_sum is None else extra_sum)
        seen += len(labels)
    return (loss_sum / seen).item(), (correct / seen).item(), None if extra_sum is None else (extra_sum / seen).item()


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy, top-1, and for each picture the classes' probabilities (N, classes) and its class (N)."""

    loss: float
    top1: float
    probabilities: torch.Tensor
    labels: torch.Tensor


@torch.no_grad()  # autocast keeps the weights that it casts from one batch to the next, as in no inference mode
def evaluate(
    model: nn.Module,
    batches: Source,
    precision: str,
    device: Device,
    forward: Forward | None = None,
    most: int | None = None,
) -> Evaluation:
    """Classify every picture, in evaluation mode; by `forward` if given, else by the model itself.

    In parts of `most` pictures at most, where it is given.
    """
    model.eval()
    parts = []
    with device.autocast(precision):
        for inputs, labels in batches.in_order():
            for part, _ in in_parts(inputs, labels, most):
                parts.append((model if forward is None else forward)(part))
    logits, labels = torch.cat(parts).float(), device.move(batches.labels)
    loss = functional.cross_entropy(logits, labels).item()
    top1 = (logits.argmax(1) == labels).float().mean().item()
    return Evaluation(loss, top1, logits.softmax(1).cpu(), labels.cpu())

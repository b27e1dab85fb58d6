"""The record's `efficiency`, quantity by quantity: what a trial and `python -m bench measure` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.measure.energy import joules_per_image
from bench.measure.latency import Latency
from bench.measure.macs import count_macs, training_macs
from bench.measure.memory import batches_that_fit, inference_memory, training_memory
from bench.measure.profile import profile_training
from bench.measure.step import measure_step
from bench.measure.subject import Inference
from bench.measure.throughput import measure_throughput
from bench.models.freezing import train_mode
from bench.train.loop import Trainer

NOT_MEASURED: dict[str, Any] = {
    "macs": None,
    "flops": None,
    "training_macs": None,
    "activations": None,
    "macs_by_operator": None,
    "macs_by_module": None,
    "uncounted_operators": None,
    "macs_cross_check": None,
    "memory": None,
    "latency_ms": None,
    "throughput": None,
    "train_step": None,
    "profile": None,
    "energy_joules": None,
}


def count(model: torch.nn.Module, image_size: int) -> dict[str, Any]:
    """MACs, FLOPs and activations of one image, and the MACs of its share of a training step."""
    counted = count_macs(model, image_size)
    train_mode(model)
    return {
        "macs": counted.macs,
        "flops": counted.flops,
        "training_macs": training_macs(model, image_size),
        "activations": counted.activations,
        "macs_by_operator": counted.by_operator,
        "macs_by_module": counted.by_module,
        "uncounted_operators": counted.uncounted_operators,
        "macs_cross_check": counted.to_dict()["cross_check"],
    }


def memory(trainer: Trainer, image_size: int, images: Tensor, labels: Tensor, batches: Sequence[int]) -> dict[str, Any]:
    """Bytes of a training step on that batch, and of inference at each of `batches`; trains two steps."""
    train_mode(trainer.model)
    trainer.step(images, labels)  # the optimizer's state comes into being
    step = training_memory(
        lambda: trainer.step(images, labels), trainer.model, trainer.optimizer, trainer.device, (images, labels)
    )
    trainer.optimizer.zero_grad(set_to_none=True)
    inference = inference_memory(trainer.model, image_size, batches, trainer.device, trainer.precision)
    return {**step, "train_batch": len(labels), "inference_peak": inference}


def throughput(
    inference: Inference, peaks: dict[int, int | None], batches: Sequence[int], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Images a second at growing batch sizes, as far as memory allows, up to the best."""
    fitting = batches_that_fit(batches, peaks, inference.device)
    return measure_throughput(inference.with_batch, inference.device, fitting, rounds, seconds)


def step_time(trainer: Trainer, batch: Callable[[], tuple[Tensor, Tensor]], runs: int) -> dict[str, Any]:
    """Seconds of a training step by phase, `batch` fetching the data of each; trains that many steps and one."""
    train_mode(trainer.model)
    images = len(batch()[1])
    return {
        **measure_step(lambda: trainer.step(*batch()), trainer.model, trainer.optimizer, trainer.device, images, runs),
        "batch": images,
    }


def profile(
    trainer: Trainer, batch: Callable[[], tuple[Tensor, Tensor]], folder: Path, steps: int = 3
) -> dict[str, Any]:
    """Profile a few training steps; the trace goes into `folder`."""
    train_mode(trainer.model)
    return profile_training(
        lambda: trainer.step(*batch()), trainer.model, trainer.optimizer, trainer.device, folder, steps
    )


def energy(
    trainer: Trainer, inference: Inference, batch: Callable[[], tuple[Tensor, Tensor]], size: int
) -> dict[str, Any] | None:
    """Joules an image of inference (batches of `size`) and of a training step; None where nothing can measure them."""
    inferring = joules_per_image(inference.with_batch(size), size, inference.device)
    if inferring is None:
        return None
    train_mode(trainer.model)
    images = len(batch()[1])
    training = joules_per_image(lambda: trainer.step(*batch()), images, trainer.device)
    return {"inference_per_image": inferring, "training_per_image": training, "batch": size}


def latency_ms(latency: Latency, inference: Inference) -> dict[str, Any]:
    """The record's `latency_ms`: the measurement, and under which options it was made."""
    return {**latency.as_dict(), **inference.describe()}

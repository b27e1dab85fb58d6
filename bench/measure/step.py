"""The time of a training step, by phase."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.device import Device
from bench.hookspecs import Subject
from bench.measure.clock import Watch, median_interval
from bench.measure.subject import PHASES, phases_told


def measure(subject: Subject) -> dict[str, Any]:
    """Seconds of a training step by phase, fetching its batch included."""
    training = subject.training
    images = len(training.batch()[1])
    found = measure_step(
        lambda: training.step(*training.batch()),
        training.model,
        training.optimizer,
        subject.device,
        images,
        runs=4 if subject.brief else 10,
    )
    return {"train_step": {**found, "batch": images}}


class _Stopwatch:
    """Adds up the seconds spent in each phase, between synchronised moments."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def start(self, phase: str) -> dict[str, float]:
        """Begin a new step in `phase`; returns its seconds by phase, which fill up as it runs."""
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._device.synchronize()
        self._phase, self._since = phase, time.perf_counter()
        return self._spent

    def begins(self, phase: str) -> None:
        self.stop()
        self._phase = phase

    def stop(self) -> None:
        self._device.synchronize()
        now = time.perf_counter()
        self._spent[self._phase] += now - self._since
        self._since = now


def measure_step(
    step: Callable[[], object],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: Device,
    images: int,
    runs: int = 10,
) -> dict[str, Any]:
    """Where a training step of `images` images spends its time: the median seconds of each phase (see subject.py).

    `seconds` is the whole step's median, with `ci95`; waiting for the device between phases makes it a little
    longer than in training, where they overlap.
    """
    spent: list[dict[str, float]] = []
    stopwatch = _Stopwatch(device)
    with Watch() as watch, phases_told(model, optimizer, stopwatch.begins):
        for _ in range(1 + runs):
            spent.append(stopwatch.start("data"))
            step()
            stopwatch.stop()
    del spent[0]  # the warm-up
    whole = [sum(phases.values()) for phases in spent]
    median = statistics.median(whole)
    return {
        "seconds": median,
        "ci95": median_interval(whole),
        "images_per_second": images / median,
        "phases": {phase: statistics.median([phases[phase] for phases in spent]) for phase in PHASES},
        "runs": runs,
        "disturbed": watch.disturbed(),
    }

"""The time of a training step, by phase."""

from __future__ import annotations

import math
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
from bench.records.record import Failure


def measure(subject: Subject) -> dict[str, Any]:
    """Seconds of a training step by phase, fetching its batch included; on a GPU as one graph, too."""
    training, device = subject.training, subject.device
    images = len(training.batch()[1])
    runs = 4 if subject.brief else 10
    found = measure_step(
        lambda: training.step(*training.batch()),
        training.model,
        training.optimizer,
        device,
        images,
        runs,
    )
    graph, why = None, None
    if device.has_graphs:
        try:
            graph = statistics.median(_without_waiting(training.graph(), device, found["seconds"], runs))
        except Exception as error:  # a model may do anything that a graph cannot
            why = str(Failure.of(error))
    return {"train_step": {**found, "batch": images, "graph_seconds": graph, "no_graph": why}}


# Seconds of steps that are started before the device is waited for: waiting for it is a small share of them.
QUEUED = 0.1


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
    """How long a training step of `images` images takes, and its phases' shares in that (see subject.py).

    `seconds` is the step's median, with `ci95`. Where the device computes on its own, it is of steps that follow each
    other without waiting, as in training; only for `phases` is it waited for between them: those are shares of the
    step, in seconds that add up to it.
    """
    spent: list[dict[str, float]] = []
    stopwatch = _Stopwatch(device)
    with Watch(device) as watch:
        with phases_told(model, optimizer, stopwatch.begins):
            for _ in range(1 + runs):
                spent.append(stopwatch.start("data"))
                step()
                stopwatch.stop()
        del spent[0]  # the warm-up
        waiting = [sum(phases.values()) for phases in spent]
        whole = _without_waiting(step, device, statistics.median(waiting), runs) if device.is_accelerator else waiting
    median = statistics.median(whole)
    by_phase = {phase: statistics.median([phases[phase] for phases in spent]) for phase in PHASES}
    share = median / sum(by_phase.values())
    return {
        "seconds": median,
        "ci95": median_interval(whole),
        "images_per_second": images / median,
        "phases": {phase: share * seconds for phase, seconds in by_phase.items()},
        "runs": runs,
        **watch.as_dict(),
    }


def _without_waiting(step: Callable[[], object], device: Device, seconds: float, runs: int) -> list[float]:
    """Seconds of a step, `runs` times, each the mean of as many as fill QUEUED; one takes about `seconds`."""
    count = math.ceil(QUEUED / seconds)
    whole = []
    for _ in range(1 + runs):
        device.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            step()
        device.synchronize()
        whole.append((time.perf_counter() - start) / count)
    return whole[1:]  # the first warms up

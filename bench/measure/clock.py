"""The clock: single runs in interleaved rounds after warm-up, how sure their median is, and what disturbed them.

Timed by `torch.utils.benchmark`, run by run (percentiles need single runs, not the means of blocks),
after warm-up, synchronised by the device. Samples come in rounds, in which all models take their turn,
so that a slow minute of the machine hits all alike and a ratio of two models stays true. The process
should have the machine to itself.

Times are skewed and come in slow and fast minutes, so neither the mean nor a normal distribution
describes them. The interval by order statistics (Hahn & Meeker, Statistical Intervals, 1991, section
5.2) needs no more than independent samples. Neighbouring runs are not independent, nor are neighbouring
rounds beside another process; blocks of rounds more nearly are (the method of batch means). So
`median_interval_of_rounds` covers two intervals: that of all runs, and that of the medians of blocks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import psutil
import torch
from torch.utils.benchmark import Timer

from bench.device import Device
from bench.measure.gpu import Load, find_gpu
from bench.records import median

WARM_UP_SECONDS = 3.0
ACCELERATOR_SECONDS = 0.5
# The whole range of eight blocks' medians holds the median with 99 % were they independent, which they are nearly.
BLOCKS = 8
# What the other models have driven out of the caches is back after milliseconds: nothing, of a run that takes longer.
LONG_RUN = 0.1
# Of all cores: below it lies what a system does by itself.
BUSY_SHARE = 0.1


class _SingleRuns(Timer):
    """A Timer that times every run by itself, however short."""

    def _estimate_block_size(self, min_run_time: float) -> int:
        return 1


class Turns:
    """Models that take turns at being timed, once all are warm, each after `warming` seconds at most: see `round`."""

    def __init__(
        self, models: Mapping[str, Callable[[], object]], device: Device, warming: float = WARM_UP_SECONDS
    ) -> None:
        def clock() -> float:
            device.synchronize()
            return time.perf_counter()

        self._models = dict(models)
        self._timers = {
            # Timer sets the number of threads while it times: to one, unless told otherwise.
            name: _SingleRuns("run()", timer=clock, globals={"run": run}, num_threads=torch.get_num_threads())
            for name, run in models.items()
        }
        # A GPU's clock rises with its load: that takes a while.
        least = ACCELERATOR_SECONDS if device.is_accelerator else 0.0
        seconds = max(warming, least)
        self._short = {name for name, run in models.items() if min(warm_up(run, clock, seconds, least)) < LONG_RUN}
        self._done = 0

    def round(self, seconds: float) -> dict[str, list[float]]:
        """Seconds of every run: each model runs for so long. Every second round goes through them backwards."""
        order = list(self._models) if self._done % 2 == 0 else list(reversed(self._models))
        self._done += 1
        samples = {}
        for name in order:
            if len(order) > 1 and name in self._short:
                self._models[name]()  # The others have driven it out of the caches.
            samples[name] = list(self._timers[name].blocked_autorange(min_run_time=seconds).raw_times)
        return samples


def timed_rounds(
    models: Mapping[str, Callable[[], object]],
    device: Device,
    rounds: int,
    seconds: float,
    warming: float = WARM_UP_SECONDS,
) -> dict[str, list[list[float]]]:
    """Seconds of every run, by model and round, of so many rounds; see `Turns`."""
    turns = Turns(models, device, warming)
    taken = [turns.round(seconds) for _ in range(rounds)]
    return {name: [samples[name] for samples in taken] for name in models}


def warm_up(
    run: Callable[[], object], clock: Callable[[], float], seconds: float = WARM_UP_SECONDS, least: float = 0.0
) -> list[float]:
    """Run until three runs in a row bring nothing faster by 3 % than the three before, or for `seconds`.

    For `least` seconds at least. The first run, which may compile, does not count. Returns the seconds of the others.
    """
    run()
    times: list[float] = []
    start = clock()
    while clock() - start < seconds:
        before = clock()
        run()
        times.append(clock() - before)
        levelled = len(times) % 3 == 0 and len(times) > 3 and min(times[-3:]) > 0.97 * min(times[-6:-3])
        if levelled and clock() - start >= least:
            break
    return times


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median by order statistics (bench/records/median.py).

    Where there are too few samples for it, their whole range: the best there is, and too narrow.
    """
    low, high = median.median_interval(samples) or (min(samples), max(samples))
    return float(low), float(high)


def median_interval_of_rounds(rounds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The interval of the median of samples that were taken in rounds, one after the other."""
    runs = median_interval([sample for samples in rounds for sample in samples])
    medians = [statistics.median(samples) for samples in rounds]
    blocks = min(BLOCKS, len(medians))
    bounds = [len(medians) * number // blocks for number in range(blocks + 1)]
    across = median_interval([statistics.median(medians[a:b]) for a, b in pairwise(bounds)])
    return min(runs[0], across[0]), max(runs[1], across[1])


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` per cent of the samples do not exceed (nearest rank)."""
    return float(np.quantile(samples, percent / 100, method="inverted_cdf"))


class Watch:
    """Counts the cores that other processes (or a virtual machine's host) keep busy while the context lasts.

    What this process starts counts as its own once it has ended, as others' before. A GPU is asked at the end, when it
    has just computed: `load` is what it then did, None where there is none. Whatever disturbs there counts in `others`
    as one core.
    """

    others = 0.0
    load: Load | None = None

    def __init__(self, device: Device) -> None:
        self._gpu = find_gpu(device)

    def __enter__(self) -> Self:
        self._before = cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        wall, busy, own = (after - before for after, before in zip(cpu_seconds(), self._before, strict=True))
        self._cores = self.others = max(0.0, (busy - own) / wall) if wall > 0 else 0.0
        if self._gpu is not None:
            self.load = self._gpu.load()
            self.others += bool(self.load.disturbed())

    def disturbed(self) -> str | None:
        """What the others did, where it was too much, and the GPU."""
        said = []
        if self._cores > quiet_cores():
            said.append(f"other processes kept {self._cores:.1f} of {psutil.cpu_count() or 1} cores busy")
        if self.load is not None and (why := self.load.disturbed()):
            said.append(why)
        return "; ".join(said) or None

    def as_dict(self) -> dict[str, Any]:
        """What goes beside a time into the record."""
        return {"disturbed": self.disturbed(), "gpu": None if self.load is None else self.load.as_dict()}


def quiet_cores() -> float:
    """As many cores may others keep busy before that is a disturbance."""
    return BUSY_SHARE * (psutil.cpu_count() or 1)


def cpu_seconds() -> tuple[float, float, float]:
    """(the clock, CPU seconds of the whole system, CPU seconds of this process and its ended children)."""
    system = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    idle = system.idle + getattr(system, "iowait", 0.0)
    # A guest's time is already counted in `user` and `nice`.
    guests = getattr(system, "guest", 0.0) + getattr(system, "guest_nice", 0.0)
    return time.perf_counter(), sum(system) - idle - guests, sum(own[:4])

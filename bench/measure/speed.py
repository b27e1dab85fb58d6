"""Latency, throughput and the time of a training step, with how sure each is.

Timed by `torch.utils.benchmark`, run by run (percentiles need single runs, not the means of blocks),
after warm-up, synchronised by the device. Samples come in rounds, in which all models take their turn,
so that a slow minute of the machine hits all alike and a ratio of two models stays true.

p50, p90 and p99 are of all runs together; `ci95` is an interval of the median by order statistics that
drift between rounds widens (see intervals.py). `disturbed` says what other processes or drift did, or is None.
The process should have the machine to itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.benchmark import Timer

from bench.device import Device
from bench.measure.disturbance import Watch, drifted, reasons
from bench.measure.intervals import median_interval, median_interval_of_rounds, percentile
from bench.measure.memory import out_of_memory
from bench.measure.phases import PHASES, phases_told

# Many short rounds: models that take turns quickly see the same machine.
ROUNDS = 24
# Of each model in each round, and of warming up.
ROUND_SECONDS = 0.2
WARM_UP_SECONDS = 3.0
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
# A larger batch must be faster by this much, or throughput has reached its best.
GAIN = 1.03


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one run: percentiles of all `runs`, the median's 95 % interval, and each round's median."""

    p50: float
    p90: float
    p99: float
    ci95: tuple[float, float]
    runs: int
    rounds: tuple[float, ...]
    disturbed: str | None

    def as_dict(self) -> dict[str, Any]:
        """The record's `latency_ms`."""
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """How many times as long one model takes as another: the median over rounds, and its 95 % interval."""

    median: float
    ci95: tuple[float, float]


class _SingleRuns(Timer):
    """A Timer that times every run by itself, however short."""

    def _estimate_block_size(self, min_run_time: float) -> int:
        return 1


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


def measure_latency(
    models: Mapping[str, Callable[[], object]],
    device: Device,
    rounds: int = ROUNDS,
    seconds: float = ROUND_SECONDS,
) -> dict[str, Latency]:
    """Time each callable (a whole forward pass of one image) for `seconds` in each of `rounds` rounds.

    Fewer than 6 rounds are too few for a 95 % interval across them, and 8 are the fewest that fill its blocks.
    """
    with Watch() as watch:
        samples = timed_rounds(models, device, rounds, seconds)
    return {name: _latency(times, reasons(watch.disturbed(), drifted(times))) for name, times in samples.items()}


def latency_ratio(slower: Latency, faster: Latency) -> Ratio:
    """Their ratio, round by round: both must come from one call of `measure_latency`."""
    ratios = [a / b for a, b in zip(slower.rounds, faster.rounds, strict=True)]
    return Ratio(statistics.median(ratios), median_interval(ratios))


def measure_throughput(
    with_batch: Callable[[int], Callable[[], object]],
    device: Device,
    batches: Iterable[int] = BATCHES,
    rounds: int = 6,
    seconds: float = 0.2,
) -> list[dict[str, Any]]:
    """Images a second over growing batch sizes, up to the best: {batch, images_per_second, ci95, disturbed}.

    `with_batch(n)` gives a forward pass of n images. Ends after two sizes in a row that are no faster than the
    best before, or where memory runs out; on a CPU nothing but a limit on `batches` keeps it from being
    reached (see `memory.batches_that_fit`).
    """
    found: list[dict[str, Any]] = []
    best, without_gain = 0.0, 0
    for batch in sorted(batches):
        device.release_memory()
        try:
            with Watch() as watch:
                times = timed_rounds({"": with_batch(batch)}, device, rounds, seconds)[""]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            break
        low, high = median_interval_of_rounds(times)
        speed = batch / statistics.median([time for samples in times for time in samples])
        found.append(
            {
                "batch": batch,
                "images_per_second": speed,
                "ci95": (batch / high, batch / low),
                "disturbed": reasons(watch.disturbed(), drifted(times)),
            }
        )
        without_gain = 0 if speed > GAIN * best else without_gain + 1
        best = max(best, speed)
        if without_gain == 2:
            break
    return found


def measure_step(
    step: Callable[[], object],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: Device,
    images: int,
    runs: int = 10,
) -> dict[str, Any]:
    """Where a training step of `images` images spends its time: the median seconds of each phase (see phases.py).

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
        "disturbed": reasons(watch.disturbed()),
    }


def timed_rounds(
    models: Mapping[str, Callable[[], object]], device: Device, rounds: int, seconds: float
) -> dict[str, list[list[float]]]:
    """Seconds of every run, by model and round. Every second round goes through the models backwards."""

    def clock() -> float:
        device.synchronize()
        return time.perf_counter()

    timers = {
        # Timer sets the number of threads while it times: to one, unless told otherwise.
        name: _SingleRuns("run()", timer=clock, globals={"run": run}, num_threads=torch.get_num_threads())
        for name, run in models.items()
    }
    for run in models.values():
        warm_up(run, clock)
    samples: dict[str, list[list[float]]] = {name: [] for name in models}
    for number in range(rounds):
        for name in list(models) if number % 2 == 0 else reversed(list(models)):
            if len(models) > 1:
                models[name]()  # The others have driven it out of the caches.
            samples[name].append(list(timers[name].blocked_autorange(min_run_time=seconds).raw_times))
    return samples


def warm_up(run: Callable[[], object], clock: Callable[[], float], seconds: float = WARM_UP_SECONDS) -> int:
    """Run until three runs in a row bring nothing faster by 3 % than the three before, or for `seconds`.

    The first run, which may compile, does not count. Returns the number of runs.
    """
    run()
    times: list[float] = []
    start = clock()
    while clock() - start < seconds:
        before = clock()
        run()
        times.append(clock() - before)
        if len(times) % 3 == 0 and len(times) > 3 and min(times[-3:]) > 0.97 * min(times[-6:-3]):
            break
    return 1 + len(times)


def _latency(rounds: Sequence[Sequence[float]], disturbed: str | None) -> Latency:
    milliseconds = [[1e3 * time for time in samples] for samples in rounds]
    runs = [time for samples in milliseconds for time in samples]
    return Latency(
        p50=statistics.median(runs),
        p90=percentile(runs, 90),
        p99=percentile(runs, 99),
        ci95=median_interval_of_rounds(milliseconds),
        runs=len(runs),
        rounds=tuple(statistics.median(samples) for samples in milliseconds),
        disturbed=disturbed,
    )

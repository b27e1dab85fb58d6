"""Throughput: images a second at growing batch sizes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from bench.device import Device, out_of_memory
from bench.hookspecs import Subject
from bench.measure.clock import WARM_UP_SECONDS, Watch, median_interval_of_rounds, timed_rounds
from bench.measure.memory import room_for

# A larger batch must be faster by this much, or throughput has reached its best.
GAIN = 1.03
# A larger batch than one that takes this many seconds brings nothing: starting it costs nothing by then. In brief, and
# where there is time.
LONGEST = {True: 0.02, False: 10.0}
# Seconds that a batch is warmed up for, at most.
WARMING = {True: 0.1, False: WARM_UP_SECONDS}
# A batch is so many times as large as the one before.
FACTOR = {True: 4, False: 2}

Limit = Literal["gain", "memory", "time", "list"]


def measure(subject: Subject) -> dict[str, Any]:
    """Images a second at growing batch sizes, up to the best; at those that were asked for, where they were."""
    asked = subject.batches or (1,)
    fits = room_for(subject.inference, min(asked), subject.device)
    found, limit = measure_throughput(
        subject.inference,
        subject.device,
        asked if subject.batches and not subject.brief else growing(asked, FACTOR[subject.brief]),
        seconds=0.01 if subject.brief else 0.2,
        fits=fits,
        longest=LONGEST[subject.brief],
        warming=WARMING[subject.brief],
    )
    return {"throughput": found, "throughput_limited_by": limit}


def growing(batches: Iterable[int], factor: int = 2) -> Iterator[int]:
    """The batch sizes in order, and then the largest of them times the factor, for ever."""
    batch = 1
    for batch in sorted(batches):
        yield batch
    while True:
        batch *= factor
        yield batch


def measure_throughput(
    with_batch: Callable[[int], Callable[[], object]],
    device: Device,
    batches: Iterable[int],
    rounds: int = 6,
    seconds: float = 0.2,
    fits: Callable[[int], bool] = lambda batch: True,
    longest: float = LONGEST[False],
    warming: float = WARM_UP_SECONDS,
) -> tuple[list[dict[str, Any]], Limit]:
    """Images a second over growing batch sizes, up to the best: {batch, images_per_second, ci95, disturbed, gpu}.

    `with_batch(n)` gives a forward pass of n images. What ended it: two sizes in a row no faster than the best before
    ("gain"), no more memory, a batch that took `longest` seconds ("time"), or the end of `batches` ("list"). Each warms
    up for `warming` seconds at most.
    """
    found: list[dict[str, Any]] = []
    best, without_gain = 0.0, 0
    for batch in batches:
        device.release_memory()
        if not fits(batch):
            return found, "memory"
        try:
            with Watch(device) as watch:
                times = timed_rounds({"": with_batch(batch)}, device, rounds, seconds, warming)[""]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return found, "memory"
        low, high = median_interval_of_rounds(times)
        median = statistics.median([time for samples in times for time in samples])
        speed = batch / median
        found.append(
            {"batch": batch, "images_per_second": speed, "ci95": (batch / high, batch / low), **watch.as_dict()}
        )
        without_gain = 0 if speed > GAIN * best else without_gain + 1
        best = max(best, speed)
        if without_gain == 2:
            return found, "gain"
        if median >= longest:
            return found, "time"
    return found, "list"

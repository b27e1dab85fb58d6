"""Throughput: images a second at growing batch sizes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from bench.device import Device, out_of_memory
from bench.hookspecs import Subject
from bench.measure.clock import Watch, median_interval_of_rounds, timed_rounds
from bench.measure.memory import batches_that_fit

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
# A larger batch must be faster by this much, or throughput has reached its best.
GAIN = 1.03


def measure(subject: Subject) -> dict[str, Any]:
    """Images a second at growing batch sizes, as far as memory allows, up to the best."""
    fitting = batches_that_fit(
        subject.model, subject.image_size, subject.batches or BATCHES, subject.device, subject.precision
    )
    seconds = 0.05 if subject.brief else 0.2
    return {"throughput": measure_throughput(subject.inference, subject.device, fitting, seconds=seconds)}


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
                "disturbed": watch.disturbed(),
            }
        )
        without_gain = 0 if speed > GAIN * best else without_gain + 1
        best = max(best, speed)
        if without_gain == 2:
            break
    return found

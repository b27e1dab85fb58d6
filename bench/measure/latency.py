"""Latency: milliseconds of a forward pass of one image, of several models in turn.

On a GPU one image takes longer to start than to compute: `graph` is the same pass with all its launches replayed as
one, which is near what the GPU itself needs; None where the device has no such graphs, or the model cannot be one.

p50, p90 and p99 are of all runs together; `ci95` is an interval of the median by order statistics that
drift between rounds widens (see clock.py). `disturbed` says what other processes or drift did, or is None.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.device import Device
from bench.hookspecs import Subject
from bench.measure.clock import (
    Watch,
    median_interval_of_rounds,
    percentile,
    timed_rounds,
)
from bench.records.record import Failure

# Many short rounds: models that take turns quickly see the same machine.
ROUNDS = 24
# Of each model in each round.
ROUND_SECONDS = 0.2


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
    gpu: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The record's `latency_ms`."""
        return asdict(self)


def measure(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """The latency of each, all taking turns; under which options, and with how many others."""
    first = subjects[0]
    eager = {str(number): subject.inference(1) for number, subject in enumerate(subjects)}
    graphs, why = {}, {}
    for name, subject in zip(eager, subjects, strict=True):
        if first.device.has_graphs:
            try:
                graphs[f"{name} graph"] = subject.graph(1)
            except Exception as error:  # of a model that waits for the device, or computes on the CPU
                why[name] = str(Failure.of(error))
    seconds = 0.05 if first.brief else ROUND_SECONDS
    latencies = measure_latency(eager | graphs, first.device, first.rounds, seconds)
    return [
        {
            "latency_ms": {
                **latencies[name].as_dict(),
                **subject.inference_options(),
                "interleaved_with": len(eager) - 1,
                "graph": latencies[f"{name} graph"].as_dict() if f"{name} graph" in latencies else None,
                "no_graph": why.get(name),
            }
        }
        for name, subject in zip(eager, subjects, strict=True)
    ]


def measure_latency(
    models: Mapping[str, Callable[[], object]],
    device: Device,
    rounds: int = ROUNDS,
    seconds: float = ROUND_SECONDS,
) -> dict[str, Latency]:
    """Time each callable (a whole forward pass of one image) for `seconds` in each of `rounds` rounds.

    Fewer than 6 rounds are too few for a 95 % interval across them, and 8 are the fewest that fill its blocks.
    """
    with Watch(device) as watch:
        samples = timed_rounds(models, device, rounds, seconds)
    return {name: _latency(times, watch) for name, times in samples.items()}


def _latency(rounds: Sequence[Sequence[float]], watch: Watch) -> Latency:
    milliseconds = [[1e3 * time for time in samples] for samples in rounds]
    runs = [time for samples in milliseconds for time in samples]
    return Latency(
        p50=statistics.median(runs),
        p90=percentile(runs, 90),
        p99=percentile(runs, 99),
        ci95=median_interval_of_rounds(milliseconds),
        runs=len(runs),
        rounds=tuple(statistics.median(samples) for samples in milliseconds),
        **watch.as_dict(),
    )

"""Whether the machine disturbed a measurement: other processes at work, or times that drift between rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Self

import psutil

# Of all cores: below it lies what a system does by itself.
BUSY_SHARE = 0.1
# Medians of quiet rounds lie within a few per cent of each other.
DRIFT = 0.1


class Watch:
    """Counts the cores that other processes (or a virtual machine's host) keep busy while the context lasts.

    What this process starts counts as its own once it has ended, as others' before.
    """

    others = 0.0

    def __enter__(self) -> Self:
        self._before = _seconds()
        return self

    def __exit__(self, *_: object) -> None:
        wall, busy, own = (after - before for after, before in zip(_seconds(), self._before, strict=True))
        self.others = max(0.0, (busy - own) / wall) if wall > 0 else 0.0

    def disturbed(self) -> str | None:
        """What the others did, where it was too much."""
        cores = psutil.cpu_count() or 1
        if self.others <= BUSY_SHARE * cores:
            return None
        return f"other processes kept {self.others:.1f} of {cores} cores busy"


def drifted(rounds: Sequence[Sequence[float]]) -> str | None:
    """How far the rounds' medians lie apart, where it is too far; a tenth of the rounds at either end aside."""
    medians = sorted(statistics.median(samples) for samples in rounds)
    aside = len(medians) // 10
    apart = (medians[-1 - aside] - medians[aside]) / statistics.median(medians)
    return f"rounds differ by {apart:.0%}" if apart > DRIFT else None


def reasons(*found: str | None) -> str | None:
    """The record's `disturbed`: all reasons in one line, or None."""
    return "; ".join(reason for reason in found if reason) or None


def _seconds() -> tuple[float, float, float]:
    """(the clock, CPU seconds of the whole system, CPU seconds of this process and its ended children)."""
    system = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    idle = system.idle + getattr(system, "iowait", 0.0)
    # A guest's time is already counted in `user` and `nice`.
    guests = getattr(system, "guest", 0.0) + getattr(system, "guest_nice", 0.0)
    return time.perf_counter(), sum(system) - idle - guests, sum(own[:4])

"""A timing session: models timed in turns until the ratio of each to the first is known well enough, or time is up.

What is wanted is a ratio, so that decides how long: rounds go on until the 95 % interval of every model's ratio to
the first reaches no further than WIDTH each way. Where other work is seen on the machine, its blocks do not count
(bench/records/sessions.py), and rounds go on, too. Whatever happens, no series takes much longer than `longest` says.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.device import Device
from bench.measure.clock import Turns, Watch, quiet_cores
from bench.records.sessions import BLOCK, LEAST_BLOCKS, Times, blocks_of, longest

# A share of the ratio: nobody chooses a model for 2 %.
WIDTH = 0.02
# An interval of few blocks is narrow by chance at times: so many at least, unless time is up.
BLOCKS = 12
# Of a model in a round: the others disturb its caches once a round.
ROUND_SECONDS = 0.05
# System clocks count in hundredths of a second, of every core: shorter, a block's disturbance would be guessed.
BLOCK_SECONDS = 0.5


@dataclass
class Taken:
    """By model, each round's median seconds of a run; and by block the cores that others kept busy."""

    rounds: dict[str, list[float]] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)

    def times(self, model: str) -> Times:
        """As a session's are read."""
        limit = quiet_cores()
        return Times(1, blocks_of(self.rounds[model]), tuple(one <= limit for one in self.others))

    @property
    def width(self) -> float:
        """How far the interval of a model's ratio to the first reaches, at most, as a share; infinite if not known."""
        first, *others = (self.times(model) for model in self.rounds)
        if first.disturbed:
            return math.inf
        reaches = [own.against(first).reach for own in others] or [first.level.reach]
        return math.expm1(max(reaches))


def time_together(
    models: Mapping[str, Callable[[], object]],
    device: Device,
    most_seconds: float | None = None,
    told: Callable[[float], None] = lambda share: None,
) -> Taken:
    """Time these callables, one run of each after the other, for no longer than `longest` says or `most_seconds`.

    `told` hears how much of that has passed.
    """
    turns, taken = Turns(models, device), Taken({name: [] for name in models})
    seconds = max(ROUND_SECONDS, BLOCK_SECONDS / BLOCK / len(models))
    start, most = time.perf_counter(), most_seconds or longest(len(models))
    while True:
        with Watch(device) as watch:
            for _ in range(BLOCK):
                for name, samples in turns.round(seconds).items():
                    taken.rounds[name].append(statistics.median(samples))
        taken.others.append(watch.others)
        passed, blocks = time.perf_counter() - start, len(taken.others)
        told(min(1.0, passed / most))
        if (passed >= most and blocks >= LEAST_BLOCKS) or (blocks >= BLOCKS and taken.width <= WIDTH):
            return taken

"""How the times of two models stand to each other: their ratio, its interval and p, on the logarithmic scale.

Every trial times its model in a session of its own, minutes or days from the others', and between sessions the
machine itself changes. Rounds within a session know nothing of that. So a session is one observation, however many
rounds it has, and a difference has to be beyond what sessions do:

- Where any model has a second session: by how much the sessions of one model differ, pooled over all models, since it
  is the machine that moves (analysis of variance of the logarithms, one group a model; Student's t with the pooled
  degrees of freedom); and no less than LEAST besides what each session's own interval leaves open, since two sessions
  may agree by chance.
- Where none has: by UNSEEN, since nothing measured says how much the machine moved.

benchmarks/verdicts.py counts how often this sees a difference where there is none, and misses one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records.comparison import Contender
from bench.records.quantities import Quantity
from bench.report.judge.intervals import own_interval
from bench.report.judge.paired import LEVEL

# Standard deviations between sessions, of the logarithm. UNSEEN is what one model's sessions differed by on the busy
# machine of the published results: two single sessions have to differ by a factor of 2.3 before anything is said.
LEAST, UNSEEN = 0.05, 0.3


@dataclass(frozen=True)
class Sessions:
    """A model's times, the logarithm of each session's."""

    logs: tuple[float, ...]
    within: float | None  # the mean variance of a session's own value; None where a session gives no interval

    @property
    def level(self) -> float:
        """The logarithm of the time that is shown, the geometric mean."""
        return math.fsum(self.logs) / len(self.logs)


@dataclass(frozen=True)
class Ratio:
    """A's time over B's."""

    value: float
    low: float
    high: float
    p: float  # two-sided, for a ratio of 1


def sessions_of(quantity: Quantity, contender: Contender) -> Sessions | None:
    """None where no trial has it, or one has a value that no time can be."""
    records = [trial.record for trial in contender.finished]
    measured = [(value, own_interval(quantity, one)) for one in records if (value := quantity.value(one)) is not None]
    if not measured or min(value for value, _ in measured) <= 0:
        return None
    within = [_variance(interval) for _, interval in measured if interval is not None and interval[0] > 0]
    known = math.fsum(within) / len(within) if len(within) == len(measured) else None
    return Sessions(tuple(math.log(value) for value, _ in measured), known)


def _variance(interval: tuple[float, float]) -> float:
    from scipy.special import ndtri

    low, high = interval
    return float((math.log(high / low) / (2 * ndtri(1 - LEVEL / 2))) ** 2)


def spread(models: Sequence[Sessions]) -> tuple[float, int]:
    """The variance between sessions of one model, pooled over the models, and its degrees of freedom."""
    freedom = sum(len(one.logs) - 1 for one in models)
    squares = math.fsum((log - one.level) ** 2 for one in models for log in one.logs)
    return (squares / freedom if freedom else 0.0), freedom


def ratio(a: Sessions, b: Sessions, between: tuple[float, int]) -> Ratio | None:
    """A's over B's, given the `spread`; None where nothing is known of the noise: no interval, no second session."""
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    variance, freedom = between
    if not freedom and (a.within is None or b.within is None):
        return None
    difference, least = a.level - b.level, LEAST if freedom else UNSEEN
    assumed = math.sqrt(sum((least**2 + (one.within or 0.0)) / len(one.logs) for one in (a, b)))
    half, p = float(ndtri(1 - LEVEL / 2)) * assumed, 2 * float(ndtr(-abs(difference) / assumed))
    seen = math.sqrt(variance * (1 / len(a.logs) + 1 / len(b.logs)))
    if freedom and seen > 0:
        half = max(half, float(stdtrit(freedom, 1 - LEVEL / 2)) * seen)
        p = max(p, 2 * float(stdtr(freedom, -abs(difference) / seen)))
    return Ratio(math.exp(difference), math.exp(difference - half), math.exp(difference + half), min(p, 1.0))

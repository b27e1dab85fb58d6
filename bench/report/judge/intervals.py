"""Estimates over a model's trials, and how sure they are: Student's t, Wilson's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bench.records.comparison import Contender
from bench.records.quantities import Quantity


@dataclass(frozen=True)
class Estimate:
    """A quantity over a model's finished trials: the mean, and its 95 % interval where one is known."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


def estimate(quantity: Quantity, contender: Contender) -> Estimate | None:
    """None where no trial has it. The interval: over seeds (Student's t), for one trial that of the record."""
    records = [trial.record for trial in contender.finished]
    values = tuple(value for record in records if (value := quantity.value(record)) is not None)
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if len(values) > 1:
        half = half_interval(values)
        most = math.inf if quantity.most is None else quantity.most
        return Estimate(mean, max(mean - half, quantity.least), min(mean + half, most), values)
    low, high = quantity.interval_in(records[0]) or (None, None)
    return Estimate(mean, low, high, values)


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean (Student's t); 0 for a single value."""
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return student(len(values) - 1) * deviation / math.sqrt(len(values))


@cache
def student(degrees: int) -> float:
    """Student's t, 97.5 %, at so many degrees of freedom: a 95 % interval reaches so many standard errors each way."""
    from scipy.special import stdtrit  # scipy.stats has the same, and takes a second to import

    return float(stdtrit(degrees, 0.975))


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (0..1) that was seen in `count` independent cases (Wilson, JASA 22, 1927)."""
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half

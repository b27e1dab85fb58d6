"""What is shown of a quantity for one model: its value over the trials, and how sure that is.

An accuracy or a score: the mean over seeds, with Student's interval from three on, no narrower than what was asked for
where seeds were added until it was (seeds.py); where that would leave the scale (beyond 100 %), and of two seeds, from
the lowest to the highest; a top-1 of one seed with Wilson's, for so many test pictures. A count: the mean, which has no
noise. A time of timing sessions: their median, with its interval by order statistics of blocks of rounds (times.py).
Another time: each trial's own measurements are one block, with the interval that the record gives, or that their order
statistics give; several blocks have their geometric mean, and the span from the lowest to the highest end of theirs. A
time's seeds are no sample of anything that moves it: the machine does, from trial to trial, by far more than Student's
t over two or three could tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bench.records.comparison import Contender
from bench.records.median import median_interval
from bench.records.quantities import Quantity
from bench.records.record import Record
from bench.report.judge.times import timed

SEEDS = 3  # fewer say nothing of how a score varies


@dataclass(frozen=True)
class Estimate:
    """A quantity over a model's finished trials: the mean (of times the geometric one), and its interval if known."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


def estimate(quantity: Quantity, contender: Contender) -> Estimate | None:
    """None where no trial, and no session of timing, has it."""
    if quantity.series:
        return _timed(quantity, contender)
    records = [trial.record for trial in contender.finished if quantity.value(trial.record) is not None]
    values = tuple(value for record in records if (value := quantity.value(record)) is not None)
    if not values:
        return None
    if quantity.kind == "time" and min(values) > 0:
        return Estimate(
            _geometric_mean(values), *_span(values, [own_interval(quantity, one) for one in records]), values
        )
    mean = values[0] if len(set(values)) == 1 else math.fsum(values) / len(values)
    if quantity.kind in ("accuracy", "score"):
        return Estimate(mean, *_interval(quantity, mean, values, records), values)
    return Estimate(mean, None, None, values)


def _timed(quantity: Quantity, contender: Contender) -> Estimate | None:
    found = timed(quantity, contender) if contender.finished else None
    if found is None:
        return None

    def value(log: float) -> float:
        return quantity.of_run(math.exp(log), found.images)

    values = tuple(value(one.level.median) for one in found.by_session.values())
    low, high = sorted(map(value, found.interval)) if found.interval else (None, None)
    return Estimate(value(found.level), low, high, values)


def _interval(
    quantity: Quantity, mean: float, values: Sequence[float], records: Sequence[Record]
) -> tuple[float | None, float | None]:
    """Of an accuracy or a score."""
    first = records[0]
    if len(values) > 1:
        # Where seeds were added until it was so narrow: see seeds.py.
        asked = max((one.environment or {}).get("until", {}).get(quantity.key, 0.0) for one in records)
        half, most = max(half_interval(values), asked), math.inf if quantity.most is None else quantity.most
        if len(values) >= SEEDS and quantity.least <= mean - half and mean + half <= most:
            return mean - half, mean + half
        return min(values), max(values)  # t of two is 12.7: it would say nothing; no end is cut off to look sensible
    if quantity.kind == "accuracy":
        low, high = wilson_interval(mean / quantity.scale, first.data.test)
        return low * quantity.scale, high * quantity.scale
    return quantity.interval_in(first) or (None, None)


def own_interval(quantity: Quantity, record: Record) -> tuple[float, float] | None:
    """The 95 % interval of one trial's time: the record's, or by order statistics of its rounds; None without either.

    Such an interval is of a median; it is widened to hold the value where that is a mean.
    """
    value, found = quantity.value(record), quantity.interval_in(record)
    found = found or median_interval(quantity.rounds_in(record))
    if value is None or found is None:
        return None
    return min(found[0], value), max(found[1], value)


def _geometric_mean(values: Sequence[float]) -> float:
    if len(set(values)) == 1:
        return values[0]
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def _span(
    values: Sequence[float], intervals: Sequence[tuple[float, float] | None]
) -> tuple[float | None, float | None]:
    """From the lowest end to the highest; where a trial has no interval its value is both, but of a single trial."""
    if len(values) == 1:
        return intervals[0] or (None, None)
    ends = [interval or (value, value) for value, interval in zip(values, intervals, strict=True)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean (Student's t); 0 for a single value."""
    if len(values) < 2:
        return 0.0
    return student(len(values) - 1) * deviation(values) / math.sqrt(len(values))


def deviation(values: Sequence[float]) -> float:
    """The standard deviation that the values, two or more of a sample, tell."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


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

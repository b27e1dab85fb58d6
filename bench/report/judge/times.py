"""How the times of two models stand to each other: their ratio, its interval and p, on the logarithmic scale.

Times compare where they were taken together, in one timing session (bench/records/sessions.py): there the ratio of
two models is taken block by block, and whatever slows the machine down slows both. A session's ratio is the median of
its blocks, with an interval by order statistics. Blocks of one session have much in common, though (where memory
happened to lie, how warm the machine was): sessions are the clusters. A ratio over sessions is the mean of theirs,
and its uncertainty has two parts:

- what the blocks leave open within each session;
- by how much a ratio differs between sessions: no less than LEAST, which two copies of one network differ by
  (benchmarks/same_twice.py); more where the sessions show it, pooled over all models that every session timed.

Times that trials took by themselves, such as the seconds of an epoch, have no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records.comparison import Contender
from bench.records.quantities import Quantity
from bench.records.sessions import Level, Times
from bench.report.judge.paired import LEVEL

# The standard deviation between sessions of the logarithm of a ratio.
LEAST = 0.015
# Why there is no verdict.
ALONE, NEVER = "each timed by itself, in its own trial", "not timed side by side"


@dataclass(frozen=True)
class Ratio:
    """A's time over B's."""

    value: float
    low: float
    high: float
    p: float  # two-sided, for a ratio of 1


@dataclass(frozen=True)
class Timed:
    """What a model's sessions say of one series: the times that count, by session."""

    by_session: dict[str, Times]
    disturbed: str  # what disturbed all of its sessions; empty where one was quiet

    @property
    def images(self) -> int:
        """How many pictures a run goes through."""
        return next(iter(self.by_session.values())).images

    @property
    def level(self) -> float:
        """The logarithm of the seconds of a run."""
        return math.fsum(one.level.median for one in self.by_session.values()) / len(self.by_session)

    @property
    def interval(self) -> tuple[float, float] | None:
        """From the lowest end of a session's interval to the highest; None where it was disturbed."""
        found = [one.level.interval for one in self.by_session.values()]
        known = [one for one in found if one is not None]
        if self.disturbed or len(known) < len(found):
            return None
        return min(low for low, _ in known), max(high for _, high in known)


def timed(quantity: Quantity, contender: Contender) -> Timed | None:
    """The model's times from its sessions; of the quiet ones where there is any. None where no session has it."""
    found = {
        kept.digest: times
        for kept in contender.sessions
        if (times := kept.session.times(contender.first.model.name, quantity.series)) is not None
    }
    quiet = {digest: times for digest, times in found.items() if not times.disturbed}
    if not found:
        return None
    return Timed(quiet or found, "" if quiet else next(iter(found.values())).disturbed)


def spread(models: Sequence[Timed]) -> float:
    """The variance of a ratio between sessions, pooled over the models; 0 where nothing shows it.

    Of models by sessions, what is neither the model's nor the session's own: a ratio has that of two models.
    """
    if len(models) < 2:
        return 0.0
    sessions = sorted(set.intersection(*(set(one.by_session) for one in models)))
    if len(sessions) < 2:
        return 0.0
    logs = [[one.by_session[session].level.median for session in sessions] for one in models]
    whole = math.fsum(log for row in logs for log in row) / (len(logs) * len(sessions))
    rows = [math.fsum(row) / len(row) for row in logs]
    columns = [math.fsum(column) / len(column) for column in zip(*logs, strict=True)]
    rest = math.fsum(
        (log - row - column + whole) ** 2
        for own, row in zip(logs, rows, strict=True)
        for log, column in zip(own, columns, strict=True)
    )
    return 2 * rest / ((len(logs) - 1) * (len(sessions) - 1))


def ratio(a: Timed, b: Timed, between: float) -> Ratio | None:
    """A's time over B's, given their `spread`; None where no session, or none with an interval, timed both."""
    shared = [a.by_session[one].against(b.by_session[one]) for one in a.by_session if one in b.by_session]
    return combined(shared, between)


def combined(sessions: Sequence[Level], between: float = 0.0) -> Ratio | None:
    """The ratio over sessions, each of which gives it with its own interval."""
    from scipy.special import ndtr, ndtri

    count, reach = len(sessions), float(ndtri(1 - LEVEL / 2))
    intervals = [one.interval for one in sessions if one.interval is not None]
    if not sessions or len(intervals) < count:
        return None
    middle = math.fsum(one.median for one in sessions) / count
    below = math.fsum((one.median - low) ** 2 for one, (low, _) in zip(sessions, intervals, strict=True))
    above = math.fsum((high - one.median) ** 2 for one, (_, high) in zip(sessions, intervals, strict=True))
    assumed = reach**2 * max(LEAST**2, between) / count
    down, up = (math.sqrt(side / count**2 + assumed) for side in (below, above))
    toward = down if middle > 0 else up
    p = 2 * float(ndtr(-abs(middle) * reach / toward))
    return Ratio(math.exp(middle), math.exp(middle - down), math.exp(middle + up), min(p, 1.0))

"""A quantity of B against A's, and whether B is worse: what `compare` judges.

A gate has to stay open for what is not worse, and not to be silent about what it cannot tell. Each quantity that is
judged has one of three outcomes, for which its verdict (verdict.py) and its tolerance are needed:

- worse: by the verdict, and by more than the tolerance. With one common seed that is not enough, since seeds alone
  move a model: the gap has to be beyond what UNSEEN points of seed deviation do, too;
- not worse: the 95 % interval excludes a loss beyond the tolerance (non-inferiority); of counts, the loss is within it;
- cannot tell: all else, with what would decide it.

By default counts and accuracy are judged. Times are only where they are asked for, of sessions that timed both.
benchmarks/gate.py counts how often two trainings of one model are called worse: docs/statistics.md has its table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.records.comparison import Contender
from bench.records.identity import way_of
from bench.records.machine import differences
from bench.records.quantities import Quantity
from bench.report.judge.intervals import estimate
from bench.report.judge.paired import LEVEL
from bench.report.judge.verdict import Verdict, Verdicts

UNSEEN = 2.0  # points by which seeds may move a model, one standard deviation, where nothing shows it

Outcome = Literal["worse", "not worse", "cannot tell"]

GRAVEST: tuple[Outcome, ...] = ("worse", "cannot tell", "not worse")

# Normal quantiles: of a 95 % interval, and of a power of 80 %, which is what would decide.
REACH, REACH_OF_POWER = 1.959964, 0.841621

Tolerances = Mapping[Quantity, float]


@dataclass(frozen=True)
class Change:
    """A quantity of B against A's."""

    quantity: Quantity
    a: float
    b: float
    verdict: Verdict  # of B against A
    tolerance: float | None  # in the quantity's unit; None where it is not judged
    tests: int = 1  # how many quantities are judged by a test, for which p is corrected once more
    decides: str = ""  # what would decide it, where it cannot be told

    @property
    def difference(self) -> float:
        """B minus A."""
        return self.b - self.a

    @property
    def loss(self) -> float:
        """By how much B's number is worse, in the quantity's unit."""
        return self.difference * (-1 if self.quantity.better == "higher" else 1)

    @property
    def most_loss(self) -> float:
        """The worst that the 95 % interval holds; infinite where there is none."""
        if self.verdict.low is None or self.verdict.high is None:
            return math.inf
        if self.verdict.ratio:
            low, high = self.a * (self.verdict.low - 1), self.a * (self.verdict.high - 1)
        else:
            low, high = self.verdict.low, self.verdict.high
        return -low if self.quantity.better == "higher" else high

    @property
    def outcome(self) -> Outcome | None:
        """None where it is not judged."""
        if self.tolerance is None:
            return None
        allowed = self.tolerance * (1 + 1e-9)  # rounding must not make 5 % more than 5 %
        if self.quantity.kind == "count":
            return "worse" if self.verdict.outcome == "worse" and self.loss > allowed else "not worse"
        if self.verdict.outcome == "worse" and self.loss > allowed and self._beyond_chance:
            return "worse"
        if self.verdict.outcome != "unknown" and self.verdict.seeds != 1 and self.most_loss <= allowed:
            return "not worse"
        return "cannot tell"

    @property
    def _beyond_chance(self) -> bool:
        """Whether the verdict holds for so many tests, and for seeds where there is one alone."""
        if self.verdict.p is None or self.verdict.p * self.tests >= LEVEL:
            return False
        if self.verdict.seeds != 1:
            return True
        seeds = REACH * math.sqrt(2) * UNSEEN
        return self.loss > math.hypot(self.most_loss - self.loss, seeds)

    @property
    def worse(self) -> bool:
        """Whether this closes the gate."""
        return self.outcome == "worse"

    @property
    def undecided(self) -> bool:
        """Whether it cannot be told."""
        return self.outcome == "cannot tell"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "quantity": self.quantity.key,
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "relative": self.difference / abs(self.a) if self.a else None,
            "verdict": self.verdict.to_json(),
            "tolerance": self.tolerance,
            "outcome": self.outcome,
            "would_decide": self.decides or None,
        }


@dataclass(frozen=True)
class Compared:
    """Model A against model B under one protocol."""

    comparison: str
    a: Contender
    b: Contender
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    problem: str = ""  # what B lacks that A has

    @property
    def worse(self) -> bool:
        """Whether anything judged is worse beyond its tolerance, or B failed where A did not."""
        return self.outcome == "worse"

    @property
    def outcome(self) -> Outcome:
        """The gravest of what is judged."""
        return "worse" if self.problem else gravest(one.outcome for one in self.changes if one.outcome is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "comparison": self.comparison,
            "a": self.a.model,
            "b": self.b.model,
            "outcome": self.outcome,
            "problem": self.problem or None,
            "notes": list(self.notes),
            "changes": [change.to_json() for change in self.changes],
        }


def gravest(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several; what is not judged is not worse."""
    return min(outcomes, key=GRAVEST.index, default="not worse")


def compared_pair(
    name: str, a: Contender, b: Contender, verdicts: Verdicts, tolerances: Tolerances, quantities: Sequence[Quantity]
) -> Compared:
    """All quantities that both have, and what B lacks of A's: trials that ended well, measurements."""
    problem = ""
    if a.finished and len(b.finished) < len(b.trials):
        failed = next(trial for trial in b.trials if trial.record.status != "ok")
        problem = f"{b.model}: {len(b.trials) - len(b.finished)} of {len(b.trials)} trials failed ({failed.ended})"
    changes = tuple(_changes(a, b, verdicts, tolerances, quantities)) if a.finished and b.finished else ()
    lost = [one.key for one in tolerances if one.kind != "time" and estimate(one, a) and not estimate(one, b)]
    if lost and not problem:  # what cannot be judged must not pass
        problem = f"{b.model}: not measured in B, but in A: {', '.join(lost)}"
    return Compared(name, a, b, changes, tuple(_notes(a, b)), problem)


def _changes(
    a: Contender, b: Contender, verdicts: Verdicts, tolerances: Tolerances, quantities: Sequence[Quantity]
) -> Iterator[Change]:
    places = [next(at for at, own in enumerate(verdicts.contenders) if own is one) for one in (a, b)]
    tests = sum(verdicts.on(one).between(places[1], places[0]).p is not None for one in tolerances)
    for quantity in quantities:
        standing = verdicts.on(quantity)
        one, other = (standing.values[place] for place in places)
        if quantity.better is None or one is None or other is None:
            continue
        allowed = tolerances.get(quantity)
        if allowed is not None and not quantity.in_points:
            allowed *= abs(one.mean)
        verdict = standing.between(places[1], places[0])
        change = Change(quantity, one.mean, other.mean, verdict, allowed, max(tests, 1))
        yield replace(change, decides=_would_decide(change, verdicts, a, b)) if change.undecided else change


def _would_decide(change: Change, verdicts: Verdicts, a: Contender, b: Contender) -> str:
    """What would tell whether the quantity is worse by more than the tolerance, if it is not worse at all."""
    if change.quantity.kind == "time":
        why = change.verdict.reason
        return f"{why}: `python -m bench measure --of RESULTS` on a quiet machine" if why else "more timing sessions"
    if change.quantity.kind != "accuracy":
        return "3 common seeds or more"
    shared = sorted({t.record.seed for t in a.finished} & {t.record.seed for t in b.finished})
    found = verdicts.answers.difference(b, a, verdicts.seed_noise)
    if found is None:
        return "the same seeds of both, with their predictions"
    if found.seeds < 2 or verdicts.seed_noise is None:
        return f"more seeds, 3 at least: {len(shared)} in common say nothing of what seeds do"
    # The variance at which a loss of the tolerance would be told from none with that power.
    wanted = (max(change.tolerance or 0.0, 1e-9) / 100 / (REACH + REACH_OF_POWER)) ** 2
    test = a.first.data.test
    if found.picture_variance < wanted / 2:
        seeds = math.ceil(found.seed_variance * found.seeds / (wanted - found.picture_variance))
        return f"about {max(seeds, found.seeds + 1):,} seeds of each"
    seeds = max(math.ceil(found.seed_variance * found.seeds / (wanted / 2)), found.seeds)
    return (
        f"about {math.ceil(test * found.picture_variance / (wanted / 2)):,} test pictures and {seeds:,} seeds of each"
    )


def _notes(a: Contender, b: Contender) -> Iterator[str]:
    seeds = [sorted(trial.record.seed for trial in one.finished) for one in (a, b)]
    if seeds[0] != seeds[1]:
        yield f"seeds differ: {seeds[0]} against {seeds[1]}"
    if apart := differences(a.first.environment, b.first.environment):
        yield f"machines differ: {', '.join(apart)}"
    ways = [str(way_of(one.first) or "") for one in (a, b)]
    if all(ways) and ways[0] != ways[1]:
        yield f"run otherwise: {ways[0]} against {ways[1]}"

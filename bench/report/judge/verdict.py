"""Is A better than B? The one answer, which tables, findings, figures, the page, `compare` and `recommend` all show.

Two models of a comparison and a quantity give a verdict: better, worse, tie (the test cannot tell them apart, which
does not mean equal) or unknown (there is no test, and the reason why). What is tested depends on the quantity's kind:

- accuracy: on the same test pictures, seed by seed, what seeds do pooled over all models (paired.py); the difference,
  in points;
- time: the ratio, from timing sessions that had both (times.py); unknown where these were disturbed, or are none;
- count: printed alike or not; there is no noise, hence no interval and no p;
- score: Student's paired t over the seeds that both have, where these are three or more; else unknown.

p is corrected by Holm's method for all pairs of the comparison that are tested on the quantity, and alone decides;
intervals are of each pair by itself. Beyond ALL_PAIRS models the family is each model against the best; another pair
is corrected for all pairs there are (Bonferroni), so that the answer is the same wherever it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

from bench.records.comparison import Comparison, Contender
from bench.records.quantities import Quantity
from bench.report.judge.intervals import SEEDS, Estimate, estimate, half_interval, student
from bench.report.judge.paired import ALL_PAIRS, LEVEL, Answers, SeedNoise, holm, read_answers, seed_noise
from bench.report.judge.times import ALONE, NEVER, Timed, ratio, spread, timed

Outcome = Literal["better", "worse", "tie", "unknown"]
TURNED: dict[Outcome, Outcome] = {"better": "worse", "worse": "better", "tie": "tie", "unknown": "unknown"}
FEW = 5  # of the best, where comparing each with each would take too long


@dataclass(frozen=True)
class Verdict:
    """What is known of A against B on a quantity."""

    outcome: Outcome
    value: float | None = None  # A − B in the quantity's unit, of times A / B; None where one of them lacks it
    low: float | None = None  # the 95 % interval of `value`
    high: float | None = None
    p: float | None = None  # two-sided, for no difference; corrected
    pairs: int = 0  # for how many pairs p was corrected
    reason: str = ""  # of an outcome that no p decided
    ratio: bool = False
    seeds: int = 0  # how many of both were paired; 0 where nothing is

    def turned(self) -> Verdict:
        """The same of B against A."""
        value, low, high = (
            None if one is None else 1 / one if self.ratio else 0.0 - one for one in (self.value, self.high, self.low)
        )
        outcome = TURNED[self.outcome]
        return Verdict(outcome, value, low, high, self.p, self.pairs, self.reason, self.ratio, self.seeds)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "outcome": self.outcome,
            "ratio" if self.ratio else "difference": self.value,
            "ci95": None if self.low is None else [self.low, self.high],
            "p": self.p,
            "corrected_for_pairs": self.pairs,
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class _Test:
    """Two models before p is corrected; without a p, `reason` says why, and `alike` that a count is printed alike."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    alike: bool = False
    reason: str = ""
    ratio: bool = False
    seeds: int = 0


class Verdicts:
    """All verdicts on a comparison's finished models, which are named by their places. Each is found when asked for.

    `pairs` (a < b) are those that p is corrected for, where they are not all pairs of one comparison.
    """

    def __init__(self, contenders: Sequence[Contender], pairs: Sequence[tuple[int, int]] | None = None) -> None:
        self.contenders = tuple(contenders)
        self.pairs = pairs
        self._standings: dict[Quantity, Standing] = {}

    @classmethod
    def of(cls, comparison: Comparison) -> Verdicts:
        """Of the comparison's finished models, in its order."""
        found: Verdicts = comparison.worked_out.setdefault("verdicts", cls(comparison.finished))
        return found

    @cached_property
    def answers(self) -> Answers:
        """Which test pictures each trial got right."""
        return read_answers(trial for contender in self.contenders for trial in contender.finished)

    @cached_property
    def seed_noise(self) -> SeedNoise | None:
        """How much seeds move a model's top-1, pooled over the models; None where none has two."""
        return seed_noise([self.answers.top1(one) for one in self.contenders])

    def on(self, quantity: Quantity) -> Standing:
        """How the models stand on that quantity."""
        if quantity not in self._standings:
            self._standings[quantity] = Standing(self, quantity)
        return self._standings[quantity]


class Standing:
    """The models on one quantity: their values, and the verdict on each two of them."""

    def __init__(self, verdicts: Verdicts, quantity: Quantity) -> None:
        self.quantity = quantity
        self._verdicts = verdicts
        self._contenders = verdicts.contenders
        self.values: list[Estimate | None] = [estimate(quantity, one) for one in self._contenders]
        sign = {"higher": 1.0, "lower": -1.0, None: 0.0}[quantity.better]
        # More is better; a count as it is printed.
        self.scores = [
            -math.inf if one is None else sign * (float(self._printed(one)) if quantity.kind == "count" else one.mean)
            for one in self.values
        ]
        having = [place for place, value in enumerate(self.values) if value is not None]
        # The places of the models that have it, best first; in the comparison's order without a better side.
        self.order = sorted(having, key=lambda place: (-sign * self._mean(place), place))
        self._tests: dict[tuple[int, int], _Test] = {}
        self._known: dict[tuple[int, int], Verdict] = {}

    def between(self, a: int, b: int) -> Verdict:
        """Of the model at place `a` against that at `b`."""
        if a == b:
            ratio = self.quantity.kind == "time"
            return Verdict("tie", float(ratio), reason="the same model", ratio=ratio)
        if (a, b) not in self._known:
            self._known[a, b] = self._decided(a, b) if a < b else self.between(b, a).turned()
        return self._known[a, b]

    @cached_property
    def tested(self) -> dict[tuple[int, int], Verdict]:
        """Every pair (a < b) of the family that has a p."""
        return {pair: self.between(*pair) for pair in self._family}

    @cached_property
    def apart(self) -> dict[tuple[int, int], Verdict]:
        """Those of them that the test tells apart."""
        return {pair: one for pair, one in self.tested.items() if one.outcome in ("better", "worse")}

    @cached_property
    def silent(self) -> frozenset[int]:
        """The places of the models that have it, and can be compared with no other; of many, with none of the best."""
        others = self.order if len(self.order) <= ALL_PAIRS else self.order[:FEW]
        known = (any(self.between(a, b).outcome != "unknown" for b in others if b != a) for a in self.order)
        return frozenset(place for place, one in zip(self.order, known, strict=True) if not one)

    @cached_property
    def disturbed(self) -> list[str]:
        """By place, what disturbed the model's measurement; empty where nothing did."""
        if self.quantity.series:
            return [one.disturbed if one else "" for one in self._timed]
        read = self.quantity.disturbed_in
        found = [[read(trial.record) for trial in one.finished] for one in self._contenders]
        return [next((text for text in texts if text), "") for texts in found]

    def _mean(self, place: int) -> float:
        value = self.values[place]
        return math.nan if value is None else value.mean

    def _printed(self, value: Estimate) -> str:
        return f"{value.mean:.{self.quantity.decimals}f}"

    def _decided(self, a: int, b: int) -> Verdict:
        test = self._test(a, b)
        p, pairs = (None, 0) if test.p is None else self._corrected(a, b, test.p)
        outcome, reason = self._outcome(a, b, test, p)
        return Verdict(outcome, test.value, test.low, test.high, p, pairs, reason, test.ratio, test.seeds)

    def _outcome(self, a: int, b: int, test: _Test, p: float | None) -> tuple[Outcome, str]:
        """With the reason, where no p decides."""
        if test.alike:
            return "tie", test.reason
        if p is not None and p >= LEVEL:
            return "tie", ""
        if test.reason:
            return "unknown", test.reason
        if self.quantity.better is None:
            return "unknown", "neither way is better"
        return "better" if self.scores[a] > self.scores[b] else "worse", ""

    def _corrected(self, a: int, b: int, p: float) -> tuple[float, int]:
        """And for how many pairs."""
        if (a, b) in self._family:
            return self._family[a, b], len(self._family)
        pairs = math.comb(len(self._contenders), 2)
        return min(1.0, p * pairs), pairs

    @cached_property
    def _family(self) -> dict[tuple[int, int], float]:
        """The corrected p of each pair that has one."""
        count = len(self._contenders)
        if self._verdicts.pairs is not None:
            pairs = list(self._verdicts.pairs)
        elif count <= ALL_PAIRS:
            pairs = list(combinations(range(count), 2))
        else:
            best = self.order[:1]
            pairs = [(min(a, b), max(a, b)) for a in best for b in self.order if a != b]
        raw = {pair: p for pair in pairs if (p := self._test(*pair).p) is not None}
        return dict(zip(raw, holm(list(raw.values())), strict=True))

    def _test(self, a: int, b: int) -> _Test:
        if (a, b) not in self._tests:
            self._tests[a, b] = self._tried(a, b)
        return self._tests[a, b]

    def _tried(self, a: int, b: int) -> _Test:
        one, other = self.values[a], self.values[b]
        if one is None or other is None:
            return _Test(reason="not measured")
        if self.quantity.kind == "time":
            return self._ratio(a, b)
        difference = one.mean - other.mean
        if self.quantity.kind == "count":
            alike = self._printed(one) == self._printed(other)
            reason = ("printed alike" if difference else "equal") if alike else ""
            return _Test(difference, alike=alike, reason=reason)
        test = self._accuracy(a, b) if self.quantity.kind == "accuracy" else self._score(a, b)
        if test.value is None:
            return replace(test, value=difference)
        # The test is of the seeds that both have, the values and their order of all.
        opposed = test.value != 0 and test.value * difference <= 0
        return replace(test, reason="the seeds that both have say otherwise") if opposed else test

    def _accuracy(self, a: int, b: int) -> _Test:
        answers, scale = self._verdicts.answers, self.quantity.scale
        found = answers.difference(self._contenders[a], self._contenders[b], self._verdicts.seed_noise)
        if found is not None:
            return _Test(scale * found.value, scale * found.low, scale * found.high, found.p, seeds=found.seeds)
        read = [any(trial.folder in answers.rows for trial in self._contenders[one].finished) for one in (a, b)]
        return _Test(reason="no common seed" if all(read) else "no predictions")

    def _score(self, a: int, b: int) -> _Test:
        of_a, of_b = self._by_seed[a], self._by_seed[b]
        differences = [of_a[seed] - of_b[seed] for seed in sorted(of_a.keys() & of_b.keys())]
        count = len(differences)
        if count < SEEDS:
            return _Test(reason=f"no test with fewer than {SEEDS} common seeds")
        mean, half = math.fsum(differences) / count, half_interval(differences)
        return _Test(mean, mean - half, mean + half, _two_sided(mean, half, count - 1), seeds=count)

    @cached_property
    def _by_seed(self) -> list[dict[int, float]]:
        read = self.quantity.value
        found = [[(trial.record.seed, read(trial.record)) for trial in one.finished] for one in self._contenders]
        return [{seed: value for seed, value in values if value is not None} for values in found]

    def _ratio(self, a: int, b: int) -> _Test:
        one, other = self._timed[a], self._timed[b]
        if one is None or other is None:
            return _Test(self._mean(a) / self._mean(b) if self._mean(b) else None, reason=ALONE, ratio=True)
        found = ratio(one, other, self._spread)
        if found is None:
            return _Test(reason=NEVER, ratio=True)
        value, low, high = found.value, found.low, found.high
        if self.quantity.unit == "images/s":  # the other way round, at each one's batch
            pictures = one.images / other.images
            value, low, high = pictures / value, pictures / high, pictures / low
        if self.disturbed[a] or self.disturbed[b]:
            return _Test(value, reason="disturbed", ratio=True)
        return _Test(value, low, high, found.p, ratio=True)

    @cached_property
    def _timed(self) -> list[Timed | None]:
        series = self.quantity.series
        return [timed(self.quantity, one) if series else None for one in self._contenders]

    @cached_property
    def _spread(self) -> float:
        """Between sessions that nothing disturbed."""
        return spread([one for one in self._timed if one and not one.disturbed])


def _two_sided(mean: float, half: float, freedom: int) -> float:
    """Student's p of a mean whose 95 % interval reaches so far each way."""
    from scipy.special import stdtr

    if half == 0:
        return float(mean == 0)
    return min(1.0, 2 * float(stdtr(freedom, -abs(mean) * student(freedom) / half)))

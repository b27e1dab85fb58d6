"""`python -m bench compare A B`: what is better and worse in B than in A, two models or two results folders.

Each quantity has its verdict (verdict.py). The gate is narrower: it closes where a quantity that is judged is worse by
the verdict and has worsened by more than its tolerance. What no test can decide never closes it, but is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import RequestError, unknown
from bench.records.comparison import Comparison, Contender
from bench.records.identity import terms_of, way_of
from bench.records.machine import differences
from bench.records.quantities import Quantity, with_plugins
from bench.report.judge.choose import comparisons_in, named, only_one, other_settings
from bench.report.judge.intervals import estimate
from bench.report.judge.verdict import Verdict, Verdicts

# Shares of A's value; percentage points for quantities that are said in these.
SHARE, POINTS = 0.05, 0.5

Tolerances = Mapping[Quantity, float]


@dataclass(frozen=True)
class Change:
    """A quantity of B against A's."""

    quantity: Quantity
    a: float
    b: float
    verdict: Verdict  # of B against A
    tolerance: float | None  # in the quantity's unit; None where it is not judged

    @property
    def difference(self) -> float:
        """B minus A."""
        return self.b - self.a

    @property
    def beyond(self) -> bool:
        """Whether it is judged, and B's number is worse by more than the tolerance."""
        if self.tolerance is None:
            return False
        loss = self.difference * (-1 if self.quantity.better == "higher" else 1)
        return loss > self.tolerance * (1 + 1e-9)  # rounding must not make 5 % more than 5 %

    @property
    def worse(self) -> bool:
        """Whether this closes the gate."""
        return self.beyond and self.verdict.outcome == "worse"

    @property
    def undecided(self) -> bool:
        """Whether it would, were it known to be more than noise."""
        return self.beyond and not self.worse

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
            "worse_beyond_tolerance": self.worse,
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
        return bool(self.problem) or any(change.worse for change in self.changes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "comparison": self.comparison,
            "a": self.a.model,
            "b": self.b.model,
            "worse": self.worse,
            "problem": self.problem or None,
            "notes": list(self.notes),
            "changes": [change.to_json() for change in self.changes],
        }


def compare(
    a: str, b: str, *, results: Path, protocol: str | None = None, tolerance: Sequence[str] = ()
) -> tuple[list[Compared], list[str]]:
    """Two results folders, where both are folders, else two models of `results`; and notes on what was left out.

    Raises RequestError where nothing can be compared, with the settings that differ where these are the reason.
    """
    if Path(a).is_dir() and Path(b).is_dir():
        return _folders(Path(a), Path(b), protocol, tolerance)
    return _models(a, b, results, protocol, tolerance)


def parse_tolerances(texts: Sequence[str], quantities: Sequence[Quantity]) -> dict[Quantity, float]:
    """By quantity, what is judged and how much worse it may be: a share, or points for what is said in points.

    `0.1` is the share for all that are judged; `latency_ms=0.1,accuracy=1` judges these two alone.
    """
    share, own = SHARE, {}
    by_key = {quantity.key: quantity for quantity in quantities if quantity.better is not None}
    for part in (part.strip() for text in texts for part in text.split(",")):
        key, equals, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value < math.inf or (equals and not key):
            raise RequestError(f"--tolerance {part}: write NUMBER, or QUANTITY=NUMBER,…, with a number of 0 or more")
        if not key:
            share = value
        elif key not in by_key:  # no quantity, or one that has no better side
            hint = str(unknown("quantity", key, by_key, "")).partition("`")[0].strip()
            raise RequestError(f"{hint} the quantities are {', '.join(by_key)}")
        else:
            own[by_key[key]] = value
    judged = {one: POINTS if one.in_points else share for one in by_key.values() if one.judged}
    return own or judged


def _models(
    a: str, b: str, results: Path, protocol: str | None, tolerance: Sequence[str]
) -> tuple[list[Compared], list[str]]:
    found, damaged = comparisons_in(results)
    found = named(found, protocol, results)
    known = sorted({contender.model for one in found for contender in one.contenders})
    for model in (a, b):
        if model not in known:
            raise RequestError(f"{_no_model(model, known)}; it is no folder of results either")
    both = [one for one in found if {a, b} <= {contender.model for contender in one.contenders}]
    if not both:
        of_a, of_b = (next(c for one in found for c in one.contenders if c.model == model).first for model in (a, b))
        raise RequestError(
            f"{a} and {b} were never run under one protocol on one data; they differ in {_short(of_a, of_b)}"
        )
    one = only_one(both, results)
    by_name = {contender.model: contender for contender in one.contenders}
    tolerances = parse_tolerances(tolerance, one.quantities)
    return [_compared(one.name, by_name[a], by_name[b], Verdicts.of(one), tolerances, one.quantities)], damaged


def _no_model(model: str, known: Sequence[str]) -> str:
    hint = str(unknown("model", model, known, "")).partition("`")[0].strip()
    return f"{hint} the results have {', '.join(known)}"


def _folders(a: Path, b: Path, protocol: str | None, tolerance: Sequence[str]) -> tuple[list[Compared], list[str]]:
    """Each comparison of A that B has too, model by model."""
    (of_a, damaged_a), (of_b, damaged_b) = comparisons_in(a), comparisons_in(b)
    of_a, of_b = named(of_a, protocol, a), named(of_b, protocol, b)
    notes = [*damaged_a, *damaged_b]
    compared: list[Compared] = []
    refused: list[str] = []
    matched: set[int] = set()
    for one in of_a:
        same = _same(one, of_b)
        if same is not None:
            matched.add(id(same))
            pairs, missing = _pairs(one, same)
            compared += _all_compared(one.name, pairs, tolerance)
            notes += missing
            continue
        namesake = next((other for other in of_b if other.folder.name == one.folder.name), None)
        if namesake is None:
            notes.append(f"{one.name}: only in {a}")
        else:
            matched.add(id(namesake))
            refused.append(f"{one.name} is not the same in both: {_short(one.first, namesake.first)}")
    notes += [f"{other.name}: only in {b}" for other in of_b if id(other) not in matched]
    if refused:
        raise RequestError(f"{'; '.join(refused)} ({a} / {b}); name another with --protocol, or run one of them again")
    if not compared:
        raise RequestError(f"{a} and {b} have no model under the same protocol: {'; '.join(notes)}")
    return compared, notes


def _same(one: Comparison, others: Sequence[Comparison]) -> Comparison | None:
    """The one of the same protocol and data, run the same way if there is such a one; None without any."""
    terms = terms_of(one.first)
    alike = [other for other in others if terms_of(other.first).agree(replace(terms, way=None))]
    alike.sort(key=lambda other: not terms_of(other.first).compared.agree(terms.compared))
    return alike[0] if alike else None


def _pairs(a: Comparison, b: Comparison) -> tuple[list[tuple[Contender, Contender]], list[str]]:
    in_b = {contender.model: contender for contender in b.contenders}
    pairs = [(contender, in_b[contender.model]) for contender in a.contenders if contender.model in in_b]
    in_a = {contender.model for contender in a.contenders}
    notes = [f"{a.name}: {model} only in the first" for model in sorted(in_a - in_b.keys())]
    notes += [f"{a.name}: {model} only in the second" for model in sorted(in_b.keys() - in_a)]
    return pairs, notes


def _short(a: Any, b: Any, most: int = 6) -> str:
    lines = other_settings(a, b)
    return ", ".join([*lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])])


def _all_compared(
    name: str, pairs: Sequence[tuple[Contender, Contender]], tolerance: Sequence[str]
) -> Iterator[Compared]:
    """Pairs of models that were run under one protocol, in two folders; p is corrected for these pairs."""
    trials = [trial for pair in pairs for contender in pair for trial in contender.trials]
    quantities = with_plugins(quantity for trial in trials for quantity in trial.record.quantities)
    tolerances = parse_tolerances(tolerance, quantities)
    finished = [pair for pair in pairs if pair[0].finished and pair[1].finished]
    contenders = [contender for pair in finished for contender in pair]
    verdicts = Verdicts(contenders, [(at, at + 1) for at in range(0, len(contenders), 2)])
    return (_compared(name, a, b, verdicts, tolerances, quantities) for a, b in pairs)


def _compared(
    name: str, a: Contender, b: Contender, verdicts: Verdicts, tolerances: Tolerances, quantities: Sequence[Quantity]
) -> Compared:
    """All quantities that both have, and what B lacks of A's: trials that ended well, measurements."""
    problem = ""
    if a.finished and len(b.finished) < len(b.trials):
        failed = next(trial for trial in b.trials if trial.record.status != "ok")
        problem = f"{b.model}: {len(b.trials) - len(b.finished)} of {len(b.trials)} trials failed ({failed.ended})"
    changes = tuple(_changes(a, b, verdicts, tolerances, quantities)) if a.finished and b.finished else ()
    lost = [one.key for one in tolerances if estimate(one, a) and not estimate(one, b)]
    if lost and not problem:  # what cannot be judged must not pass
        problem = f"{b.model}: not measured in B, but in A: {', '.join(lost)}"
    return Compared(name, a, b, changes, tuple(_notes(a, b)), problem)


def _changes(
    a: Contender, b: Contender, verdicts: Verdicts, tolerances: Tolerances, quantities: Sequence[Quantity]
) -> Iterator[Change]:
    places = [next(at for at, own in enumerate(verdicts.contenders) if own is one) for one in (a, b)]
    for quantity in quantities:
        standing = verdicts.on(quantity)
        one, other = (standing.values[place] for place in places)
        if quantity.better is None or one is None or other is None:
            continue
        allowed = tolerances.get(quantity)
        if allowed is not None and not quantity.in_points:
            allowed *= abs(one.mean)
        yield Change(quantity, one.mean, other.mean, standing.between(places[1], places[0]), allowed)


def _notes(a: Contender, b: Contender) -> Iterator[str]:
    seeds = [sorted(trial.record.seed for trial in one.finished) for one in (a, b)]
    if seeds[0] != seeds[1]:
        yield f"seeds differ: {seeds[0]} against {seeds[1]}"
    if apart := differences(a.first.environment, b.first.environment):
        yield f"machines differ: {', '.join(apart)}"
    ways = [str(way_of(one.first) or "") for one in (a, b)]
    if all(ways) and ways[0] != ways[1]:
        yield f"run otherwise: {ways[0]} against {ways[1]}"

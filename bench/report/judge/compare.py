"""`python -m bench compare A B`: what is better and worse in B than in A, two models or two results folders.

A quantity is worse where it has worsened by more than its tolerance, and by more than its noise: the 95 % interval of
the difference, where one is known, does not reach zero. Better is the mirror of that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import RequestError, unknown
from bench.records.comparison import Comparison, Contender
from bench.records.quantities import BY_KEY, QUANTITIES, Quantity
from bench.report.judge.choose import comparisons_in, named, only_one, other_settings
from bench.report.judge.intervals import Estimate, estimate

Outcome = Literal["better", "worse", "same", "not judged"]

# Shares of A's value; percentage points for quantities that are said in these.
SHARE, POINTS = 0.05, 0.5
# What is judged unless quantities are named; the rest is noisy beyond what is known of it, or says the same again.
JUDGED = tuple(quantity.key for quantity in QUANTITIES if quantity.judged)


@dataclass(frozen=True)
class Change:
    """A quantity of B against A's, with the 95 % interval of the difference where one is known."""

    quantity: Quantity
    a: float
    b: float
    low: float | None
    high: float | None
    tolerance: float | None  # in the quantity's unit; None where it is not judged
    outcome: Outcome

    @property
    def difference(self) -> float:
        """B minus A."""
        return self.b - self.a

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        interval = None if self.low is None or self.high is None else [self.low, self.high]
        return {
            "quantity": self.quantity.key,
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "ci95": interval,
            "relative": self.difference / abs(self.a) if self.a else None,
            "tolerance": self.tolerance,
            "outcome": self.outcome,
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
        """Whether anything judged is worse, or B failed where A did not."""
        return bool(self.problem) or any(change.outcome == "worse" for change in self.changes)

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
    tolerances = parse_tolerances(tolerance)
    if Path(a).is_dir() and Path(b).is_dir():
        return _folders(Path(a), Path(b), protocol, tolerances)
    return _models(a, b, results, protocol, tolerances)


def parse_tolerances(texts: Sequence[str]) -> dict[str, float]:
    """By quantity, what is judged and how much worse it may be: a share, or points for what is said in points.

    `0.1` is the share for all that are judged; `latency_ms=0.1,accuracy=1` judges these two alone.
    """
    share, own = SHARE, {}
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
        elif key not in BY_KEY or BY_KEY[key].better is None:
            raise unknown_quantity(key)
        else:
            own[key] = value
    return own or {key: POINTS if BY_KEY[key].in_points else share for key in JUDGED}


def unknown_quantity(key: str) -> RequestError:
    """The error for a quantity that there is not, or that has no better side; it lists those that there are."""
    names = [quantity.key for quantity in QUANTITIES if quantity.better is not None]
    hint = str(unknown("quantity", key, names, "")).partition("`")[0].strip()
    return RequestError(f"{hint} the quantities are {', '.join(names)}")


def _models(
    a: str, b: str, results: Path, protocol: str | None, tolerances: Mapping[str, float]
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
    return [compare_two(one.name, by_name[a], by_name[b], tolerances)], damaged


def _no_model(model: str, known: Sequence[str]) -> str:
    hint = str(unknown("model", model, known, "")).partition("`")[0].strip()
    return f"{hint} the results have {', '.join(known)}"


def _folders(
    a: Path, b: Path, protocol: str | None, tolerances: Mapping[str, float]
) -> tuple[list[Compared], list[str]]:
    """Each comparison of A that B has too, model by model."""
    (of_a, damaged_a), (of_b, damaged_b) = comparisons_in(a), comparisons_in(b)
    of_a, of_b = named(of_a, protocol, a), named(of_b, protocol, b)
    notes = [*damaged_a, *damaged_b]
    compared: list[Compared] = []
    refused: list[str] = []
    matched: set[int] = set()
    for one in of_a:
        same = next((other for other in of_b if _prints(other) == _prints(one)), None)
        if same is not None:
            matched.add(id(same))
            pairs, missing = _pairs(one, same)
            compared += [compare_two(one.name, *pair, tolerances) for pair in pairs]
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


def _prints(one: Comparison) -> tuple[str, str]:
    return one.first.protocol.fingerprint, one.first.data.fingerprint


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


def compare_two(name: str, a: Contender, b: Contender, tolerances: Mapping[str, float]) -> Compared:
    """All quantities that both have, and what B lacks of A's: trials that ended well, measurements."""
    problem = ""
    if a.finished and len(b.finished) < len(b.trials):
        failed = next(trial for trial in b.trials if trial.record.status != "ok")
        problem = f"{b.model}: {len(b.trials) - len(b.finished)} of {len(b.trials)} trials failed ({failed.ended})"
    changes = tuple(_changes(a, b, tolerances)) if a.finished and b.finished else ()
    lost = [key for key in tolerances if estimate(BY_KEY[key], a) and not estimate(BY_KEY[key], b)]
    if lost and not problem:  # what cannot be judged must not pass
        problem = f"{b.model}: not measured in B, but in A: {', '.join(lost)}"
    return Compared(name, a, b, changes, tuple(_notes(a, b)), problem)


def _changes(a: Contender, b: Contender, tolerances: Mapping[str, float]) -> Iterator[Change]:
    for quantity in QUANTITIES:
        one, other = estimate(quantity, a), estimate(quantity, b)
        if quantity.better is None or one is None or other is None:
            continue
        low, high = difference_interval(one, other)
        if quantity.key == "accuracy":
            low, high = _paired(a, b) or (low, high)
        allowed = tolerances.get(quantity.key)
        if allowed is not None and not quantity.in_points:
            allowed *= abs(one.mean)
        yield Change(
            quantity,
            one.mean,
            other.mean,
            low,
            high,
            allowed,
            judge(quantity, one.mean, other.mean, low, high, allowed),
        )


def judge(
    quantity: Quantity, a: float, b: float, low: float | None, high: float | None, allowed: float | None
) -> Outcome:
    """Whether B is better or worse than A: beyond what is allowed, with an interval that leaves zero out."""
    if allowed is None:
        return "not judged"
    within_noise = low is not None and high is not None and low <= 0 <= high
    # Rounding must not make 5 % more than 5 %.
    if within_noise or abs(b - a) <= allowed * (1 + 1e-9):
        return "same"
    return "better" if (b > a) == (quantity.better == "higher") else "worse"


def difference_interval(a: Estimate, b: Estimate) -> tuple[float | None, float | None]:
    """The 95 % interval of B minus A out of theirs (Zou and Donner, Statistics in Medicine 2008); None without one."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return None, None
    difference = b.mean - a.mean
    low = difference - math.hypot(b.mean - b.low, a.high - a.mean)
    return low, difference + math.hypot(b.high - b.mean, a.mean - a.low)


def _paired(a: Contender, b: Contender) -> tuple[float, float] | None:
    """The interval of B's accuracy minus A's, in points, on the same test pictures; None without predictions."""
    from bench.report.judge.paired import read_answers

    found = read_answers([*a.finished, *b.finished]).difference(b, a)
    return None if found is None else (100 * found.low, 100 * found.high)


def _notes(a: Contender, b: Contender) -> Iterator[str]:
    seeds = [sorted(trial.record.seed for trial in one.finished) for one in (a, b)]
    if seeds[0] != seeds[1]:
        yield f"seeds differ: {seeds[0]} against {seeds[1]}"
    machines = [{str((trial.record.environment or {}).get("device")) for trial in one.finished} for one in (a, b)]
    if all(machines) and machines[0] != machines[1]:
        yield f"machines differ: {', '.join(sorted(machines[0]))} against {', '.join(sorted(machines[1]))}"

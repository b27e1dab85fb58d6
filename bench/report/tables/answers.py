"""What `python -m bench compare` and `recommend` print."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from bench.records.quantities import Quantity
from bench.report.judge.change import Change, Compared
from bench.report.judge.recommend import Candidate, Recommendation
from bench.report.text.numbers import estimated, number
from bench.report.text.verdicts import gap, said

HOW_TO_READ = (
    "B against A: B minus A, of times B over A, with its 95 % interval where one is known. Worse: by a test (of "
    "counts: exactly), and by more than the tolerance. Not worse: the interval holds no loss beyond the tolerance. "
    "Cannot tell: neither. Top-1 is tested on the same test pictures over common seeds, times (with --times) by the "
    "ratios of common timing sessions; p is corrected for all pairs of models."
)


def compare_text(compared: Sequence[Compared], notes: Sequence[str]) -> str:
    """The outcome, a table for each pair of models, what was left out, what would decide what cannot be told."""
    parts = [verdict(compared), *(_one(one) for one in compared), HOW_TO_READ, *(["\n".join(notes)] if notes else [])]
    return "\n\n".join(parts)


def verdict(compared: Sequence[Compared]) -> str:
    """What is worse beyond its tolerance, or that nothing is; and what cannot be told, with what would decide it."""
    worse = [_named(one, [change for change in one.changes if change.worse], one.problem) for one in compared]
    open_ones = [(one, [change for change in one.changes if change.undecided]) for one in compared]
    lines = [f"worse: {'; '.join(filter(None, worse))}"] if any(worse) else []
    for one, changes in open_ones:
        lines += [
            f"cannot tell: {_title(one)}: {change.quantity.key}; what would decide: {change.decides}"
            for change in changes
        ]
    return "\n".join(lines) or "not worse: nothing that was judged is worse beyond its tolerance"


def _named(one: Compared, changes: Sequence[Change], problem: str = "") -> str:
    what = [*(change.quantity.key for change in changes), *([problem] if problem else [])]
    return f"{_title(one)}: {', '.join(what)}" if what else ""


def _title(one: Compared) -> str:
    models = one.a.model if one.a.model == one.b.model else f"{one.a.model} → {one.b.model}"
    return f"{one.comparison}, {models}"


def _one(one: Compared) -> str:
    headers = ["quantity", "A", "B", "B against A [95 %]", "relative", "p", "tolerance", "B is"]
    rows = [_row(change) for change in one.changes]
    table = tabulate(rows, headers, disable_numparse=True, colalign=["left"] + ["right"] * 6 + ["left"])
    lines = [_title(one), "", table if rows else "nothing that both have"]
    return "\n".join([*lines, *([one.problem] if one.problem else []), *one.notes])


def _row(change: Change) -> list[str]:
    quantity, verdict = change.quantity, change.verdict
    points = quantity.in_points
    tolerance = ""
    if change.tolerance is not None:
        tolerance = f"{change.tolerance:g} points" if points else f"{change.tolerance / (abs(change.a) or 1):.1%}"
    return [
        quantity.label,
        number(quantity, change.a),
        number(quantity, change.b),
        gap(quantity, verdict),
        "" if points or not change.a else f"{change.difference / abs(change.a):+.1%}",
        "" if verdict.p is None else f"{verdict.p:.2g}",
        tolerance,
        _outcome(change),
    ]


def _outcome(change: Change) -> str:
    """Of what is judged the gate's outcome, of the rest the verdict."""
    verdict = change.verdict
    if change.outcome is None:
        return f"({said(verdict) if verdict.outcome == 'unknown' else verdict.outcome})"
    if change.outcome == "not worse" and verdict.outcome != "tie":
        return f"not worse ({verdict.outcome})" if verdict.outcome == "better" else "worse, within tolerance"
    if change.undecided:
        return f"cannot tell ({said(verdict) if verdict.outcome == 'unknown' else verdict.outcome})"
    return change.outcome


def recommend_text(found: Recommendation) -> str:
    """The answer in words: a table of the recommended, then the others with their reasons."""
    parts = [f"{found.comparison.name}: {', '.join(map(str, found.limits))}"]
    keys = dict.fromkeys(["accuracy", *(limit.quantity.key for limit in found.limits)])
    quantities = [quantity for quantity in found.comparison.quantities if quantity.key in keys]
    if found.chosen:
        rows = [[one.model, *(_value(quantity, one) for quantity in quantities), _rank(one)] for one in found.chosen]
        headers = ["model", *(quantity.label for quantity in quantities), "top-1 against the first"]
        alignment = ["left", *["right"] * len(quantities), "left"]
        parts.append(tabulate(rows, headers, disable_numparse=True, colalign=alignment))
        parts += [f"{one.model}: {doubt}" for one in found.chosen for doubt in one.doubts]
    else:
        parts.append("no model is within all limits")
        if found.nearest is not None:
            parts.append(f"nearest: {found.nearest.model}: {'; '.join(found.nearest.reasons)}")
    if found.left_out:
        lines = [
            f"  {one.model}: {'; '.join([*one.reasons, *(f'but {doubt}' for doubt in one.doubts)])}"
            for one in found.left_out
        ]
        parts.append("\n".join(["left out, nearest first:", *lines]))
    return "\n\n".join(parts)


def _value(quantity: Quantity, one: Candidate) -> str:
    value = one.values.get(quantity.key)
    return "" if value is None else estimated(quantity, value)


def _rank(one: Candidate) -> str:
    return said(one.against_first) if one.against_first else ""

"""What `python -m bench compare` prints."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from bench.report.judge.compare import Change, Compared

HOW_TO_READ = (
    "Difference: B minus A, with its 95 % interval where one is known: of top-1 on the same test pictures, of the "
    "rest over seeds or over a measurement's rounds. Worse or better: by more than the tolerance, and with an interval "
    "that leaves zero out."
)


def compare_text(compared: Sequence[Compared], notes: Sequence[str]) -> str:
    """A table for each pair of models, what was left out, and what is worse."""
    parts = [_one(one) for one in compared]
    parts += [HOW_TO_READ, *(["\n".join(notes)] if notes else []), verdict(compared)]
    return "\n\n".join(parts)


def verdict(compared: Sequence[Compared]) -> str:
    """One line: what is worse, or that nothing is."""
    worse = [_worse(one) for one in compared if one.worse]
    return f"worse: {'; '.join(worse)}" if worse else "nothing that was judged is worse"


def _worse(one: Compared) -> str:
    what = [change.quantity.key for change in one.changes if change.outcome == "worse"]
    what += [one.problem] if one.problem else []
    return f"{_title(one)}: {', '.join(what)}"


def _title(one: Compared) -> str:
    models = one.a.model if one.a.model == one.b.model else f"{one.a.model} → {one.b.model}"
    return f"{one.comparison}, {models}"


def _one(one: Compared) -> str:
    headers = ["quantity", "A", "B", "difference [95 %]", "relative", "tolerance", "B is"]
    rows = [_row(change) for change in one.changes]
    table = tabulate(rows, headers, disable_numparse=True, colalign=["left"] + ["right"] * 5 + ["left"])
    lines = [_title(one), "", table if rows else "nothing that both have"]
    return "\n".join([*lines, *([one.problem] if one.problem else []), *one.notes])


def _row(change: Change) -> list[str]:
    quantity, decimals = change.quantity, change.quantity.decimals
    interval = ""
    if change.low is not None and change.high is not None:
        interval = f" [{change.low:+,.{decimals}f}, {change.high:+,.{decimals}f}]"
    points = quantity.in_points
    tolerance = ""
    if change.tolerance is not None:
        tolerance = f"{change.tolerance:g} points" if points else f"{change.tolerance / (abs(change.a) or 1):.1%}"
    return [
        quantity.label,
        f"{change.a:,.{decimals}f}",
        f"{change.b:,.{decimals}f}",
        f"{change.difference:+,.{decimals}f}{interval}",
        "" if points or not change.a else f"{change.difference / abs(change.a):+.1%}",
        tolerance,
        change.outcome,
    ]

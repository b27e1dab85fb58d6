"""The marks of a table's column, out of the verdicts."""

from __future__ import annotations

from typing import Literal

from bench.report.judge.verdict import Standing

Mark = Literal["", "best", "tie", "unknown"]


def marks(standing: Standing) -> dict[int, Mark]:
    """By place: the best value, what is a tie with it, and what cannot be compared with it; no mark: it is worse.

    No column of which nothing is known has a best: where the quantity has no better side, only one model has it, or
    the verdict on the best number is unknown against every other one.
    """
    best, *others = standing.order or [0]
    if standing.quantity.better is None or not others:
        return {}
    found = {other: standing.between(best, other).outcome for other in others}
    if set(found.values()) == {"unknown"}:
        return {}
    given: dict[str, Mark] = {"tie": "tie", "unknown": "unknown"}
    return {best: "best", **{place: given[outcome] for place, outcome in found.items() if outcome in given}}

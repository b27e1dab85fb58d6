"""The verdicts and fronts that the page shows, in few bytes: of 500 models it must stay small.

By quantity, `cells` has the verdict on each pair of models a < b, in the order 0-1, 0-2, … 1-2, …; where `against`
names a model, its verdict against each model, in their order. A cell is the number of an entry of `words`, [outcome,
evidence], or [number, value, low, high]; `all` is one that they have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from bench.records.quantities import Quantity
from bench.report.judge.dominance import front
from bench.report.judge.paired import ALL_PAIRS
from bench.report.judge.verdict import Verdict, Verdicts
from bench.report.text.verdicts import evidence

DIGITS = 4

Words = dict[tuple[str, str], int]


def encoded_verdicts(verdicts: Verdicts, quantities: Sequence[Quantity]) -> dict[str, Any]:
    """Of each quantity that two models or more have."""
    count = len(verdicts.contenders)
    words: Words = {}
    by_quantity: dict[str, Any] = {}
    for quantity in quantities:
        standing = verdicts.on(quantity)
        if len(standing.order) < 2:
            continue
        if count <= ALL_PAIRS:
            against, pairs = None, list(combinations(range(count), 2))
        else:
            against = standing.order[0]
            pairs = [(against, other) for other in range(count)]
        cells = [_cell(standing.between(a, b), words) if a != b else 0 for a, b in pairs]
        alike = all(cell == cells[0] for cell in cells)
        by_quantity[quantity.key] = {"against": against, **({"all": cells[0]} if alike else {"cells": cells})}
    return {"words": list(words), "by_quantity": by_quantity}


def _cell(verdict: Verdict, words: Words) -> int | list[float | None]:
    number = words.setdefault((verdict.outcome, evidence(verdict)), len(words))
    if verdict.low is None:
        return number
    ends = verdict.value, verdict.low, verdict.high
    return [number, *(None if one is None else float(f"{one:.{DIGITS}g}") for one in ends)]


def encoded_fronts(verdicts: Verdicts, quantities: Sequence[Quantity]) -> dict[str, list[int]]:
    """Places of the models on the front of two quantities, by their numbers: `0,6`; none where nothing is known."""
    axes = [(at, one) for at, one in enumerate(quantities) if one.better or one.cost]
    found = {f"{a},{b}": sorted(front(verdicts, x, y).on) for (a, x), (b, y) in combinations(axes, 2)}
    return {key: places for key, places in found.items() if places}

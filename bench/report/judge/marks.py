"""Which value of a column is the best, and which cannot be told from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from bench.records.comparison import Contender
from bench.records.quantities import Quantity
from bench.report.judge.intervals import Estimate, estimate, wilson_interval

Mark = Literal["", "best", "tie"]


def marks(quantity: Quantity, contenders: Mapping[str, Contender]) -> dict[str, Mark]:
    """Of each model: best, tie (its 95 % interval overlaps the best's, or it is printed alike), or neither.

    There is no best where the quantity has no better side, or only one model has it.
    """
    found = {model: known for model, own in contenders.items() if (known := estimate(quantity, own)) is not None}
    if quantity.better is None or len(found) < 2:
        return {}
    sign = -1 if quantity.better == "higher" else 1
    best = min(found, key=lambda model: sign * found[model].mean)
    best_interval = interval(quantity, contenders[best], found[best])
    given: dict[str, Mark] = {best: "best"}
    for model, value in found.items():
        low, high = interval(quantity, contenders[model], value)
        overlaps = low <= best_interval[1] and best_interval[0] <= high
        alike = f"{value.mean:.{quantity.decimals}f}" == f"{found[best].mean:.{quantity.decimals}f}"
        if model != best and (overlaps or alike):
            given[model] = "tie"
    return given


def interval(quantity: Quantity, contender: Contender, value: Estimate) -> tuple[float, float]:
    """The 95 % interval that decides over a tie: over seeds, else the record's own, else of a top-1 Wilson's.

    A value of which no interval is known is its own.
    """
    if value.low is not None and value.high is not None:
        return value.low, value.high
    data = contender.first.data
    pictures = {"accuracy": data.test, "val_accuracy": data.val}.get(quantity.key, 0)
    if pictures:
        low, high = wilson_interval(value.mean / 100, pictures)
        return 100 * low, 100 * high
    return value.mean, value.mean

"""What the bars through a chart's points are, said of those that are drawn and of no others."""

from __future__ import annotations

from collections.abc import Iterable

from bench.records.quantities import Quantity
from bench.report.judge.intervals import Estimate

INTERVALS = "95 % intervals"


def bars_read(quantity: Quantity, values: Iterable[Estimate | None]) -> str:
    """What the bars of this quantity's values are; empty where none is drawn."""
    drawn = [one for one in values if one is not None and interval(one) is not None]
    if not drawn:
        return ""
    if quantity.kind == "time" and any(len(one.values) > 1 for one in drawn):
        return f"{INTERVALS}, of several timings from lowest to highest end"
    spans = [len(one.values) > 1 and interval(one) == (min(one.values), max(one.values)) for one in drawn]
    if any(spans):
        seeds = "from the lowest to the highest seed"
        return seeds if all(spans) else f"{INTERVALS}, some {seeds}"
    return INTERVALS


def interval(value: Estimate) -> tuple[float, float] | None:
    """The ends of its bar; None where there is none, or no width."""
    if value.low is None or value.high is None or value.low == value.high:
        return None
    return value.low, value.high


def bars_said(up: str, across: Iterable[str]) -> str:
    """Of a chart whose bars upwards and across are these: `bars: 95 % intervals`; empty where there is none."""
    beside = "; ".join(dict.fromkeys(one for one in across if one))
    if not up:
        return f"bars across: {beside}" if beside else ""
    # What both are is said once.
    more = beside.removeprefix(up).removeprefix(", ")
    return f"bars: {up}" + (f" (across: {more})" if more else "")

"""How far an axis reaches: to all points, and intervals that are not far wider than that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.figures.pareto import AgainstCost

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Valued = tuple[float, tuple[float, float] | None]  # a value, and its interval
TICKS_AN_INCH = 2.4
LEAST_TICKS = 3
# Of each decade of a logarithmic axis, from many ticks to few.
FACTORS = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True)
class Axis:
    """Limits, ticks, and whether the scale is logarithmic."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool

    def on(self, axes: Axes) -> None:
        """Give the axes this horizontal axis."""
        from matplotlib.ticker import FixedLocator, NullLocator

        axes.set_xscale("log" if self.logarithmic else "linear")
        axes.xaxis.set_major_locator(FixedLocator(self.ticks))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(self.low, self.high)


def top1_range(points: Sequence[Valued]) -> tuple[float, float]:
    """Of an axis of percent."""
    low, high = _reach(points, least=1.0)
    return low, high


def cost_axis(values: AgainstCost, inches: float) -> Axis:
    """Logarithmic where every cost is above zero: costs are compared by how many times as much they are."""
    points = [(point.cost, point.cost_interval) for point in values.points]
    lowest, most = min(cost for cost, _ in points), max(abs(cost) for cost, _ in points)
    wanted = max(LEAST_TICKS, int(TICKS_AN_INCH * inches))
    if lowest <= 0:
        low, high = _reach(points, least=0.1 * most or 1.0)
        return Axis(low, high, _linear_ticks(low, high, wanted), False)
    logs = [(math.log(cost), ends and (_log(ends[0]), _log(ends[1]))) for cost, ends in points]
    low, high = (math.exp(end) for end in _reach(logs, least=0.15))
    return Axis(low, high, _log_ticks(low, high, wanted), True)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _reach(points: Sequence[Valued], least: float) -> tuple[float, float]:
    low, high = min(value for value, _ in points), max(value for value, _ in points)
    room = max(least, high - low)
    ends = [interval or (value, value) for value, interval in points]
    low, high = max(min(end[0] for end in ends), low - room), min(max(end[1] for end in ends), high + room)
    room = max(least / 2, 0.1 * (high - low))
    return low - room, high + room


def _log_ticks(low: float, high: float, wanted: int) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    found: list[float] = []
    for factors in FACTORS:
        found = [tick for power in powers for factor in factors if low <= (tick := float(f"{factor}e{power}")) <= high]
        if len(found) <= wanted:
            break
    return tuple(found) if len(found) >= LEAST_TICKS else _linear_ticks(low, high, wanted)


def _linear_ticks(low: float, high: float, wanted: int) -> tuple[float, ...]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(wanted, steps=(1, 2, 5, 10), min_n_ticks=LEAST_TICKS).tick_values(low, high)
    return tuple(float(tick) for tick in found if low <= tick <= high)

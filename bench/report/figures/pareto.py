"""Accuracy against what it costs: every model a point, and the front of those that no other beats on both.

Hollow points are beaten by another, or nothing is known of their differences from the others (report/judge).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY, Quantity
from bench.report.figures.labels import Box, place
from bench.report.figures.style import (
    BLACK,
    COLOURS,
    GREY,
    MARKERS,
    SMALL,
    WIDTH,
    conditions,
    distinct,
    heading,
    new_figure,
    panel,
    scales,
    shown,
    text_width,
)
from bench.report.judge.dominance import front
from bench.report.judge.intervals import Estimate
from bench.report.judge.verdict import Verdicts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEADER = 9.0  # points; to a name that is farther from its model leads a line
LEGEND_ACROSS = 4
FRONT: dict[str, Any] = {"color": BLACK, "linewidth": 0.9, "linestyle": (0, (4, 2))}
LOGARITHMIC_FROM = 5  # the ratio of the largest cost to the smallest


@dataclass(frozen=True)
class Point:
    """A model: its cost and its test top-1 (percent), each with its interval where one is known."""

    model: str
    family: str
    cost: float
    cost_interval: tuple[float, float] | None
    top1: float
    top1_interval: tuple[float, float] | None


@dataclass(frozen=True)
class AgainstCost:
    """The points of one figure's panel; `front` are those that no other beats, cheapest first, by their numbers."""

    label: str
    about: str
    points: tuple[Point, ...]
    front: tuple[int, ...]


@dataclass(frozen=True)
class Pareto:
    conditions: str
    panels: tuple[AgainstCost, ...]


def costs(comparison: Comparison) -> dict[str, Pareto]:
    """One figure for each cost that any model has, by the quantity's key; `""` names the overview."""
    about = f"{conditions(comparison.first)}; bars: 95 % intervals, where known"
    verdicts = Verdicts.of(comparison)
    found = {
        quantity.key: drawn
        for quantity in comparison.quantities
        if quantity.cost and (drawn := _against(verdicts, quantity)) is not None
    }
    overview = tuple(found[one.key] for one in comparison.quantities if one.overview and one.key in found)
    figures = {"": Pareto(about, overview)} if overview else {}
    return figures | {key: Pareto(about, (one,)) for key, one in found.items()}


def has_overview(comparison: Comparison) -> bool:
    """Whether `costs` has an overview, without the rest."""
    costs = [quantity for quantity in comparison.quantities if quantity.cost and quantity.overview]
    records = [trial.record for contender in comparison.finished for trial in contender.finished]
    return any(quantity.value(record) is not None for quantity in costs for record in records)


def draw_pareto(values: Pareto) -> Figure:
    families = sorted({point.family for one in values.panels for point in one.points})
    rows = -(-(len(families) + 1) // LEGEND_ACROSS)
    above = 0.5 if rows == 1 else 0.45 + 0.17 * rows  # a legend of one row stands beside the heading
    height = (2.6 if len(values.panels) > 1 else 3.4) + above
    figure = new_figure(height)
    heading(figure, "Test top-1 against cost", values.conditions)
    space = (WIDTH - 0.65) / len(values.panels)
    limits = _range([point for one in values.panels for point in one.points])
    for number, one in enumerate(values.panels):
        left = 0.55 + number * space
        axes = panel(figure, left, 0.62, left + space - 0.1, height - above, ylim=limits)
        axes.set_xlabel("\n".join(textwrap.wrap(f"{one.label}: {one.about}", int(17 * space))))
        if not number:
            axes.set_ylabel("test top-1 (%)")
        best = [one.points[index] for index in one.front]
        others = [point for index, point in enumerate(one.points) if index not in one.front]
        _draw_panel(axes, best, others, families)
        scales(axes, left=not number)
        _name(figure, axes, best, others)
    _legend(figure, families, 1 if rows == 1 else 1 - 0.36 / height)
    return figure


def _draw_panel(axes: Axes, best: Sequence[Point], others: Sequence[Point], families: Sequence[str]) -> None:
    """The front (`best`, cheapest first) as steps and filled markers, the other points as hollow ones."""
    from matplotlib.collections import LineCollection

    low, high = _cost_axis(axes, [point.cost for point in (*best, *others)])
    bottom, top = axes.get_ylim()
    if stairs := _stairs([(point.cost, point.top1) for point in best], high):
        axes.step(*zip(*stairs, strict=True), where="post", zorder=1.5, **FRONT)
    for number, family in enumerate(families):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        for points, face in ((best, colour), (others, "white")):
            own = [point for point in points if point.family == family]
            axes.plot(
                [point.cost for point in own], [point.top1 for point in own], linestyle="none", marker=marker,
                markersize=5.5, markeredgecolor=colour, markerfacecolor=face, zorder=3,
            )  # fmt: skip
            bars = [
                [(max(low, one.cost_interval[0]), one.top1), (min(high, one.cost_interval[1]), one.top1)]
                for one in own
                if one.cost_interval
            ] + [
                [(one.cost, max(bottom, one.top1_interval[0])), (one.cost, min(top, one.top1_interval[1]))]
                for one in own
                if one.top1_interval
            ]
            if bars:
                axes.add_collection(LineCollection(bars, colors=colour, linewidths=0.8), autolim=False)


def _stairs(front: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """The highest accuracy so far, from cost to cost and on to the end of the axis; nothing without a front."""
    heights = list(accumulate((top1 for _, top1 in front), max))
    return [*zip((cost for cost, _ in front), heights, strict=True), (end, heights[-1])] if heights else []


def _name(figure: Figure, axes: Axes, best: Sequence[Point], others: Sequence[Point]) -> None:
    """Write the models' names beside their points, those of the front first, and say how many found no room."""
    from matplotlib.collections import LineCollection

    width, height = (72 * float(side) for side in figure.get_size_inches())
    bounds = axes.get_window_extent()
    scale = 72 / figure.dpi
    frame = (bounds.x0 * scale + 3, bounds.y0 * scale + 3, bounds.x1 * scale, bounds.y1 * scale)
    points = [*best, *others]
    weights = ["bold"] * len(best) + ["normal"] * len(others)
    places = scale * axes.transData.transform([(point.cost, point.top1) for point in points])
    centres = [(float(x), float(y)) for x, y in places]
    sizes = [
        (72 * text_width(point.model, weight=weight) + 1, SMALL + 1.0)
        for point, weight in zip(points, weights, strict=True)
    ]
    boxes = place(centres, sizes, frame, _lines(axes, points, centres[: len(best)], scale), len(best))
    leaders = []
    for point, weight, (x, y), box in zip(points, weights, centres, boxes, strict=True):
        if box is None:
            continue
        left, bottom, right, top = box
        nearest = min(max(x, left), right), min(max(y, bottom), top)
        if math.dist((x, y), nearest) > LEADER:
            leaders.append([(x / width, y / height), (nearest[0] / width, nearest[1] / height)])
        figure.text(
            left / width, (bottom + 1.5) / height, point.model, size=SMALL, weight=weight,
            color=BLACK if weight == "bold" else GREY,
        )  # fmt: skip
    figure.add_artist(LineCollection(leaders, colors=GREY, linewidths=0.4, transform=figure.transFigure))
    if missing := boxes.count(None):
        names = "1 name" if missing == 1 else f"{missing} names"
        axes.annotate(
            f"{names} left out for want of room", (1, 1), (0, 2), xycoords="axes fraction",
            textcoords="offset points", size=SMALL, color=GREY, ha="right",
        )  # fmt: skip


def _lines(axes: Axes, points: Sequence[Point], front: Sequence[tuple[float, float]], scale: float) -> list[Box]:
    """What names had better not cover, in points: the front's steps (through `front`, to the right edge) and bars."""
    steps = _stairs(front, axes.get_window_extent().x1 * scale)
    ends = [(first, (then[0], first[1])) for first, then in pairwise(steps)]
    ends += [((then[0], first[1]), then) for first, then in pairwise(steps)]
    least = axes.get_xlim()[0]  # a logarithmic axis has no place for what is not above zero
    bars = [[(max(cost, least), one.top1) for cost in one.cost_interval] for one in points if one.cost_interval]
    bars += [[(one.cost, top1) for top1 in one.top1_interval] for one in points if one.top1_interval]
    for bar in bars:
        first, then = scale * axes.transData.transform(bar)
        ends.append(((float(first[0]), float(first[1])), (float(then[0]), float(then[1]))))
    return [(min(x0, x1) - 0.5, min(y0, y1) - 0.5, max(x0, x1) + 0.5, max(y0, y1) + 0.5) for (x0, y0), (x1, y1) in ends]


def _legend(figure: Figure, families: Sequence[str], top: float) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], linestyle="none", marker=MARKERS[number % len(MARKERS)], markersize=5,
               color=COLOURS[number % len(COLOURS)], label=shown(family, 20))
        for number, family in enumerate(families)
    ]  # fmt: skip
    entries.append(Line2D([], [], label="Pareto front (filled)", **FRONT))
    figure.legend(
        handles=entries, loc="upper right", bbox_to_anchor=(1, top), ncols=LEGEND_ACROSS, borderaxespad=0.2,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip


def _against(verdicts: Verdicts, quantity: Quantity) -> AgainstCost | None:
    """None where no model has the cost."""
    accuracy = BY_KEY["accuracy"]
    values = zip(verdicts.on(quantity).values, verdicts.on(accuracy).values, strict=True)
    names = distinct([contender.model for contender in verdicts.contenders], 28)
    points: dict[int, Point] = {}
    for at, (name, contender, (cost, top1)) in enumerate(zip(names, verdicts.contenders, values, strict=True)):
        if cost is not None and top1 is not None:
            family = contender.first.model.family
            points[at] = Point(name, family, cost.mean, _interval(cost), top1.mean, _interval(top1))
    if not points:
        return None
    numbers = {at: number for number, at in enumerate(points)}
    on = tuple(numbers[at] for at in front(verdicts, quantity, accuracy).on)
    return AgainstCost(quantity.label, quantity.about, tuple(points.values()), on)


def _interval(value: Estimate) -> tuple[float, float] | None:
    return None if value.low is None or value.high is None else (value.low, value.high)


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """Of the accuracy's axis: the points with room around them, and their intervals where these are not far wider."""
    low, high = min(point.top1 for point in points), max(point.top1 for point in points)
    room = max(1.0, high - low)
    bars = [point.top1_interval or (point.top1, point.top1) for point in points]
    low, high = max(min(bar[0] for bar in bars), low - room), min(max(bar[1] for bar in bars), high + room)
    room = max(0.5, 0.1 * (high - low))
    return low - room, high + room


def _cost_axis(axes: Axes, values: Sequence[float]) -> tuple[float, float]:
    """Limits and ticks of the axis, logarithmic where the costs span; its limits."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = min(values), max(values)
    if low > 0 and high / low >= LOGARITHMIC_FROM:
        room = (high / low) ** 0.08
        limits = low / room, high * room
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=_ticks(math.log10(high / low))))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
        limits = low - room, high + room
    axes.set_xlim(*limits)
    return limits


def _ticks(decades: float) -> tuple[float, ...]:
    """The ticks in each decade of an axis that spans so many."""
    if decades > 3:
        return (1,)
    return (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 5, 7)

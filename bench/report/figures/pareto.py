"""Accuracy against what it costs: every model a point, and the front of those that no other beats on both."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.report.comparison import Comparison
from bench.report.figures.labels import Box, place
from bench.report.figures.style import (
    BLACK,
    COLOURS,
    GREY,
    MARKERS,
    SMALL,
    WIDTH,
    conditions,
    heading,
    new_figure,
    panel,
    shown,
    text_width,
)
from bench.report.quantities import BY_KEY, QUANTITIES, Estimate, Quantity, estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OVERVIEW = ("gmacs", "epoch_seconds")
FAR = 9.0  # points; a name that is farther from its point has a line to it
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
    """The points of one figure's panel."""

    label: str
    about: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Pareto:
    conditions: str
    panels: tuple[AgainstCost, ...]


def costs(comparison: Comparison) -> dict[str, Pareto]:
    """One figure for each cost that any model has, by the quantity's key; `""` names the overview."""
    about = f"{conditions(comparison.first)}; bars: 95 % intervals, where known"
    found = {
        quantity.key: AgainstCost(quantity.label, quantity.about, points)
        for quantity in QUANTITIES
        if quantity.cost and (points := _points(comparison, quantity))
    }
    overview = tuple(found[key] for key in OVERVIEW if key in found)
    figures = {"": Pareto(about, overview)} if overview else {}
    return figures | {key: Pareto(about, (one,)) for key, one in found.items()}


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of the points (cost, accuracy) no other dominates, cheapest first.

    A point dominates another if it costs no more, is no less accurate, and is better in one of the two. Equal points
    do not dominate each other.
    """
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1], index))
    members: list[int] = []
    for index in order:
        if not members or points[index][1] > points[members[-1]][1] or points[index] == points[members[-1]]:
            members.append(index)
    return members


def draw_pareto(values: Pareto) -> Figure:
    height = 3.1 if len(values.panels) > 1 else 3.9
    figure = new_figure(height)
    heading(figure, "Test top-1 against cost", values.conditions)
    families = sorted({point.family for one in values.panels for point in one.points})
    space = (WIDTH - 0.65) / len(values.panels)
    low, high = _range([point for one in values.panels for point in one.points])
    for number, one in enumerate(values.panels):
        left = 0.55 + number * space
        axes = panel(figure, left, 0.62, left + space - 0.1, height - 0.5, ylim=(low, high))
        axes.set_xlabel("\n".join(textwrap.wrap(f"{one.label}: {one.about}", int(17 * space))))
        if number:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("test top-1 (%)")
        _draw_panel(figure, axes, one.points, families)
    _legend(figure, families)
    return figure


def _draw_panel(figure: Figure, axes: Axes, points: Sequence[Point], families: Sequence[str]) -> None:
    members = front([(point.cost, point.top1) for point in points])
    low, high = _cost_axis(axes, [point.cost for point in points])
    axes.grid(which="major")
    steps = [points[index] for index in members]
    axes.step(
        [*(point.cost for point in steps), high], [*(point.top1 for point in steps), steps[-1].top1],
        where="post", color=BLACK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1.5,
    )  # fmt: skip
    bottom, top = axes.get_ylim()
    for index, point in enumerate(points):
        family = families.index(point.family)
        colour = COLOURS[family % len(COLOURS)]
        across, up = point.cost_interval, point.top1_interval
        if across:
            axes.plot([max(across[0], low), min(across[1], high)], [point.top1] * 2, color=colour, linewidth=0.8)
        if up:
            axes.plot([point.cost] * 2, [max(up[0], bottom), min(up[1], top)], color=colour, linewidth=0.8)
        axes.plot(
            point.cost, point.top1, linestyle="none", marker=MARKERS[family % len(MARKERS)], markersize=5.5,
            markeredgecolor=colour, markerfacecolor=colour if index in members else "white", zorder=3,
        )  # fmt: skip
    _name(figure, axes, points, members)


def _name(figure: Figure, axes: Axes, points: Sequence[Point], members: Sequence[int]) -> None:
    """Write the models' names beside their points, those of the front first, and say how many found no room."""
    from matplotlib.lines import Line2D

    width, height = (72 * float(side) for side in figure.get_size_inches())
    order = [*members, *(index for index in range(len(points)) if index not in members)]
    scale = 72 / figure.dpi
    to_points, least = axes.transData, axes.get_xlim()[0]
    bounds = axes.get_window_extent()
    frame = (bounds.x0 * scale + 3, bounds.y0 * scale + 3, bounds.x1 * scale, bounds.y1 * scale + 4)

    def where(cost: float, top1: float) -> tuple[float, float]:
        x, y = to_points.transform((cost, top1))
        return float(x) * scale, float(y) * scale

    def between(first: tuple[float, float], second: tuple[float, float]) -> Box:
        (left, right), (bottom, top) = sorted((first[0], second[0])), sorted((first[1], second[1]))
        return left - 0.5, bottom - 0.5, right + 0.5, top + 0.5

    centres = [where(points[index].cost, points[index].top1) for index in order]
    steps = [*centres[: len(members)], (frame[2], centres[len(members) - 1][1])]
    lines = [
        line for first, then in pairwise(steps)
        for line in (between(first, (then[0], first[1])), between((then[0], first[1]), then))
    ]  # fmt: skip
    for index in order:
        one = points[index]
        if one.top1_interval:
            lines.append(between(*(where(one.cost, top1) for top1 in one.top1_interval)))
        if one.cost_interval:
            lines.append(between(*(where(max(cost, least), one.top1) for cost in one.cost_interval)))
    weights = ["bold" if index in members else "normal" for index in order]
    sizes = [
        (72 * text_width(figure, points[index].model, weight=weight) + 1, SMALL + 1.0)
        for index, weight in zip(order, weights, strict=True)
    ]
    boxes = place(centres, sizes, frame, lines)
    for index, (x, y), box, weight in zip(order, centres, boxes, weights, strict=True):
        if box is None:
            continue
        left, bottom, right, top = box
        near = min(max(x, left), right), min(max(y, bottom), top)
        if math.dist((x, y), near) > FAR:
            figure.add_artist(
                Line2D(
                    [x / width, near[0] / width], [y / height, near[1] / height], color=GREY, linewidth=0.4, zorder=2
                )
            )
        figure.text(
            left / width, (bottom + 1.5) / height, points[index].model, size=SMALL,
            color=BLACK if index in members else GREY, weight=weight,
        )  # fmt: skip
    missing = boxes.count(None)
    if missing:
        axes.set_title(f"{missing} names left out for want of room", loc="right", size=SMALL, color=GREY, pad=2)


def _legend(figure: Figure, families: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], linestyle="none", marker=MARKERS[number % len(MARKERS)], markersize=5,
               color=COLOURS[number % len(COLOURS)], label=shown(family, 20))
        for number, family in enumerate(families)
    ]  # fmt: skip
    entries.append(Line2D([], [], color=BLACK, linewidth=0.9, linestyle=(0, (4, 2)), label="Pareto front (filled)"))
    figure.legend(handles=entries, loc="upper right", ncols=4, borderaxespad=0.2, handletextpad=0.4, columnspacing=1.2)


def _points(comparison: Comparison, quantity: Quantity) -> tuple[Point, ...]:
    points = []
    for contender in comparison.finished:
        cost, top1 = estimate(quantity, contender), estimate(BY_KEY["accuracy"], contender)
        if cost is not None and top1 is not None and math.isfinite(cost.mean):
            points.append(
                Point(shown(contender.model, 28), contender.first.model.family,
                      cost.mean, _interval(cost), top1.mean, _interval(top1))
            )  # fmt: skip
    return tuple(points)


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

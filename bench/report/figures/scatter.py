"""Draws accuracy against cost: filled points are on the front, pale ones are not, hollow ones were disturbed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from bench.report.figures.labels import MANY, Box, Segment, place
from bench.report.figures.limits import Axis, cost_axis, top1_range
from bench.report.figures.pareto import AgainstCost, Pareto, Point
from bench.report.figures.style import (
    BLACK,
    COLOURS,
    GREY,
    MARKERS,
    SMALL,
    WIDTH,
    heading,
    heading_height,
    key_below,
    key_height,
    new_figure,
    panel,
    scales,
    text_width,
)
from bench.report.text.names import distinct, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Letters of the names beside their points, in a panel narrower than NARROW inches, and where a few have no room else.
NAME, NARROW_NAME, SHORT_NAME = 28, 24, 18
NARROW = 4.0
LEADER = 9.0  # points; to a name that is farther from its model leads a line
FRONT: dict[str, Any] = {"color": BLACK, "linewidth": 0.9, "linestyle": (0, (4, 2))}
# From a base to the extended model; ends short of both points.
MOVES: dict[str, Any] = {"arrowstyle": "-|>", "color": GREY, "linewidth": 0.8, "shrinkA": 4, "shrinkB": 4}
PALE = 0.4  # of a colour, the rest is white
ARROW = 3.5  # points


def draw_pareto(values: Pareto, width: float) -> Figure:
    """The panels beside each other; in a column one above the other."""
    families = sorted({point.family for one in values.panels for point in one.points})
    entries = _entries(values, families)
    above = heading_height(values.conditions, width) + key_height([str(one.get_label()) for one in entries], width)
    across = width >= WIDTH
    tall = 2.0 if len(values.panels) > 1 or not across else 2.8  # inches of a panel, and below it its words
    space = (width - 0.65) / (len(values.panels) if across else 1)
    words = ["\n".join(textwrap.wrap(f"{one.label}: {one.about}", int(17 * space))) for one in values.panels]
    below = 0.36 + 0.13 * max(text.count("\n") + 1 for text in words)
    rows = 1 if across else len(values.panels)
    figure = new_figure(above + rows * (tall + below), width)
    heading(figure, values.title, values.conditions)
    key_below(figure, entries, heading_height(values.conditions, width))
    limits = top1_range([(point.top1, point.top1_interval) for one in values.panels for point in one.points])
    for number, (one, text) in enumerate(zip(values.panels, words, strict=True)):
        column, row = (number, 0) if across else (0, number)
        left, bottom = 0.55 + column * space, (rows - row - 1) * (tall + below) + below
        axes = panel(figure, left, bottom, left + space - 0.1, bottom + tall - 0.1, ylim=limits)
        axes.set_xlabel(text)
        if not column:
            axes.set_ylabel("test top-1 (%)")
        _draw_panel(figure, axes, one, families, cost_axis(one, space))
    return figure


def _draw_panel(figure: Figure, axes: Axes, values: AgainstCost, families: Sequence[str], axis: Axis) -> None:
    axis.on(axes)
    scales(axes, left=bool(axes.get_ylabel()))
    best = [values.points[index] for index in values.front]
    others = [point for index, point in enumerate(values.points) if index not in values.front]
    if stairs := _stairs([(point.cost, point.top1) for point in best], axis.high):
        axes.step(*zip(*stairs, strict=True), where="post", zorder=1.5, **FRONT)
    for start, end in values.arrows:
        ends = [(values.points[at].cost, values.points[at].top1) for at in (start, end)]
        axes.annotate("", ends[1], ends[0], arrowprops=MOVES, zorder=2)
    for number, family in enumerate(families):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        pale = [point for point in others if not point.disturbed]
        hollow = [point for point in others if point.disturbed]
        for points, face in ((best, colour), (pale, _paler(colour)), (hollow, "white")):
            own = [point for point in points if point.family == family]
            axes.plot(
                [point.cost for point in own], [point.top1 for point in own], linestyle="none", marker=marker,
                markersize=5.5, markeredgecolor=colour, markerfacecolor=face, zorder=3,
            )  # fmt: skip
            _bars(axes, own, colour)
    _name(figure, axes, best, others)


def _bars(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """Each point's intervals, with an arrow where one leaves the frame."""
    from matplotlib.collections import LineCollection

    bars = [bar for point in points for bar in _within(axes, point)]
    axes.add_collection(LineCollection(bars, colors=colour, linewidths=0.8), autolim=False)
    for marker, ends in _leaving(axes, points).items():
        if ends:
            axes.plot(
                *zip(*ends, strict=True), linestyle="none", marker=marker, markersize=ARROW, color=colour,
                clip_on=False, zorder=3,
            )  # fmt: skip


def _within(axes: Axes, point: Point) -> list[Segment]:
    """The point's intervals as far as the frame holds them, in data's units."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    found: list[Segment] = []
    if point.cost_interval:
        low, high = point.cost_interval
        found.append(((max(low, left), point.top1), (min(high, right), point.top1)))
    if point.top1_interval:
        low, high = point.top1_interval
        found.append(((point.cost, max(low, bottom)), (point.cost, min(high, top))))
    return found


def _leaving(axes: Axes, points: Sequence[Point]) -> dict[str, list[tuple[float, float]]]:
    """By the arrow's marker, where intervals leave the frame."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across = [(one, one.cost_interval) for one in points if one.cost_interval]
    up = [(one, one.top1_interval) for one in points if one.top1_interval]
    return {
        "<": [(left, one.top1) for one, (low, _) in across if low < left],
        ">": [(right, one.top1) for one, (_, high) in across if high > right],
        "v": [(one.cost, bottom) for one, (low, _) in up if low < bottom],
        "^": [(one.cost, top) for one, (_, high) in up if high > top],
    }


def _paler(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(1 - PALE * (1 - part) for part in to_rgb(colour))


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
    lines = _lines(axes, points, centres[: len(best)], scale)
    names: list[str] = []
    boxes: list[Box | None] = []
    for length in (NAME if bounds.width / figure.dpi >= NARROW else NARROW_NAME, SHORT_NAME):
        short = distinct([point.model for point in points], length)
        names = [f"{name} †" if point.disturbed else name for name, point in zip(short, points, strict=True)]
        sizes = [
            (72 * text_width(name, weight=weight) + 1, SMALL + 1.0) for name, weight in zip(names, weights, strict=True)
        ]
        boxes = place(centres, sizes, frame, lines, len(best))
        if None not in boxes or len(boxes) >= MANY:
            break
    leaders = []
    for name, weight, (x, y), box in zip(names, weights, centres, boxes, strict=True):
        if box is None:
            continue
        left, bottom, right, top = box
        nearest = min(max(x, left), right), min(max(y, bottom), top)
        if math.dist((x, y), nearest) > LEADER:
            leaders.append([(x / width, y / height), (nearest[0] / width, nearest[1] / height)])
        figure.text(
            left / width, (bottom + 1.9) / height, name, size=SMALL, weight=weight,
            color=BLACK if weight == "bold" else GREY,
        )  # fmt: skip
    figure.add_artist(LineCollection(leaders, colors=GREY, linewidths=0.4, transform=figure.transFigure))
    if missing := boxes.count(None):
        left_out = "1 name" if missing == 1 else f"{missing} names"
        axes.annotate(
            f"{left_out} left out for want of room", (1, 1), (0, 2), xycoords="axes fraction",
            textcoords="offset points", size=SMALL, color=GREY, ha="right",
        )  # fmt: skip


def _lines(axes: Axes, points: Sequence[Point], front: Sequence[tuple[float, float]], scale: float) -> list[Box]:
    """What no name may cover, in points: the front's steps (through `front`, to the right edge), bars and arrows."""
    steps = _stairs(front, axes.get_window_extent().x1 * scale)
    ends: list[Segment] = [(first, (then[0], first[1])) for first, then in pairwise(steps)]
    ends += [((then[0], first[1]), then) for first, then in pairwise(steps)]
    arrows = [end for found in _leaving(axes, points).values() for end in found]
    for bar in [bar for point in points for bar in _within(axes, point)] + [(end, end) for end in arrows]:
        first, then = scale * axes.transData.transform(bar)
        ends.append(((float(first[0]), float(first[1])), (float(then[0]), float(then[1]))))
    wide = [0.6] * (len(ends) - len(arrows)) + [ARROW / 2] * len(arrows)
    return [
        (min(x0, x1) - by, min(y0, y1) - by, max(x0, x1) + by, max(y0, y1) + by)
        for ((x0, y0), (x1, y1)), by in zip(ends, wide, strict=True)
    ]


def _entries(values: Pareto, families: Sequence[str]) -> list[Line2D]:
    """The legend: the families, and of the front, pale and hollow what is drawn."""
    from matplotlib.lines import Line2D

    def marker(label: str, shape: str, colour: str, face: object) -> Line2D:
        look: dict[str, Any] = {"markeredgecolor": colour, "markerfacecolor": face}
        return Line2D([], [], linestyle="none", marker=shape, markersize=5, label=label, **look)

    entries = [
        marker(shown(family, 20), MARKERS[number % len(MARKERS)], colour, colour)
        for number, family in enumerate(families)
        for colour in [COLOURS[number % len(COLOURS)]]
    ]
    fronts = [set(one.front) for one in values.panels]
    others = [
        point
        for one, on in zip(values.panels, fronts, strict=True)
        for number, point in enumerate(one.points)
        if number not in on
    ]
    if any(fronts):
        entries.append(Line2D([], [], label="Pareto front (filled)", **FRONT))
        if not all(point.disturbed for point in others):
            entries.append(marker("pale: not on it", "o", GREY, _paler(GREY)))
    if any(point.disturbed for point in others):
        entries.append(marker("hollow: disturbed (†)", "o", GREY, "white"))
    return entries

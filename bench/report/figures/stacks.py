"""Draws the parts of each model's total as stacked bars, a line at the end of a bar whose total has an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.report.figures.bars import Bars
from bench.report.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    SMALL,
    heading,
    heading_height,
    key_below,
    key_height,
    names_width,
    new_figure,
    panel,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HALF = 0.36  # of a bar's height; the next one begins 1 below
LEAST_SHARE = 12  # percent; a narrower part has no room for its number
BESIDE = 0.05  # inches between a bar and its total
FARTHEST = 1.5  # times the longest bar; a line that would end beyond has an arrow


def draw_bars(values: Bars, width: float) -> Figure:
    """The totals, and beside them the shares; in a column one of both, the totals where any are known."""
    number = len(values.models)
    used = [part for part in range(len(values.parts)) if any(one.shares[part] for one in values.models)]
    inside = number * (0.2 if number <= 30 else 0.16)
    entries = _entries(values, used)
    top = heading_height(values.conditions, width)
    above = top + key_height([str(one.get_label()) for one in entries], width)
    figure = new_figure(inside + 0.5 + above, width)
    heading(figure, values.title, values.conditions)
    key_below(figure, entries, top)
    names = [one.name for one in values.models]
    left = min(names_width(names) + 0.2, 0.6 * width)
    totals, shares = any(one.total is not None for one in values.models), values.shares
    if shares and totals and width <= COLUMN:
        shares = False
    # Room at the right for the shares.
    end = left + (width - left) * 0.55 if totals and shares else width - 0.1
    if totals:
        axes = panel(figure, left, 0.5, end - 0.1, 0.5 + inside, xlabel=values.label)
        _totals(axes, values, used, end - 0.1 - left)
        _names(axes, names, end - 0.1 - left)
    if shares:
        begin = end + 0.1 if totals else left
        beside = panel(figure, begin, 0.5, width - 0.15, 0.5 + inside, xlabel="share of the step (%)")
        _shares(beside, values, used)
        if not totals:
            _names(beside, names, width - 0.15 - begin)
    return figure


def _names(axes: Axes, names: Sequence[str], inches: float) -> None:
    """Texts rather than ticks, which take far longer to draw."""
    rows = axes.get_yaxis_transform()
    for place, name in enumerate(names):
        axes.text(-0.055 / inches, place, name, transform=rows, ha="right", va="center", size=SMALL)


def _totals(axes: Axes, values: Bars, used: Sequence[int], inches: float) -> None:
    """With the totals in figures behind the bars and their lines."""
    from matplotlib.collections import LineCollection

    longest = max(one.total or 0.0 for one in values.models) or 1.0
    most = FARTHEST * longest
    rows = [[(one.total or 0.0) * one.shares[part] / 100 for part in used] for one in values.models]
    _stack(axes, rows, [values.parts[part] for part in used])
    spans = [(place, one.span) for place, one in enumerate(values.models) if one.span]
    lines = [((low, place), (min(high, most), place)) for place, (low, high) in spans]
    axes.add_collection(LineCollection(lines, colors=BLACK, linewidths=0.9, zorder=3), autolim=False)
    if beyond := [place for place, (_, high) in spans if high > most]:
        axes.plot([most] * len(beyond), beyond, linestyle="none", marker=">", markersize=3.5, color=BLACK, zorder=3)
    reach = longest
    for place, one in enumerate(values.models):
        end = max(one.total or 0.0, min(one.span[1], most) if one.span else 0.0)
        text = "not timed side by side" if one.total is None else _number(one.total)
        axes.annotate(
            text, (end, place), (72 * BESIDE, 0), textcoords="offset points", va="center", size=SMALL,
            annotation_clip=False,
        )  # fmt: skip
        room = (text_width(text) + BESIDE + 0.02) / inches
        reach = max(reach, end / max(0.2, 1 - room))
    axes.set_xlim(0, 1.02 * reach)


def _number(total: float) -> str:
    return f"{total:.3g}" if total < 100 else f"{total:,.0f}"


def _shares(axes: Axes, values: Bars, used: Sequence[int]) -> None:
    rows = [[one.shares[part] for part in used] for one in values.models]
    parts = [values.parts[part] for part in used]
    _stack(axes, rows, parts)
    axes.set_xlim(0, 100)
    for place, row in enumerate(rows):
        start = 0.0
        for share, (_, colour, _) in zip(row, parts, strict=True):
            if share >= LEAST_SHARE:
                axes.text(
                    start + share / 2, place, f"{share:.0f}", size=SMALL, ha="center", va="center_baseline",
                    color="white" if colour == BLUE else "black",
                )  # fmt: skip
            start += share


def _stack(axes: Axes, rows: list[list[float]], parts: Sequence[tuple[str, str, str]]) -> None:
    from matplotlib.collections import PolyCollection

    starts = [0.0] * len(rows)
    for index, (_, colour, hatch) in enumerate(parts):
        ends = [start + row[index] for start, row in zip(starts, rows, strict=True)]
        boxes = [
            [(start, place - HALF), (end, place - HALF), (end, place + HALF), (start, place + HALF)]
            for place, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
        # One artist for all models' bars, which is drawn far faster than one for each.
        axes.add_collection(PolyCollection(boxes, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.4))
        starts = ends
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _entries(values: Bars, used: Sequence[int]) -> list[Artist]:
    from matplotlib.patches import Patch

    parts = [values.parts[part] for part in used]
    return [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.4, label=name)
        for name, colour, hatch in parts
    ]

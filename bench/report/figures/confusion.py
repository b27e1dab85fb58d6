"""Which classes a model takes for which: the confusion matrix, or what matters of it where there are many classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.records.classes import confusion_counts
from bench.records.comparison import Contender
from bench.report.figures.style import (
    COLUMN,
    GREY,
    SMALL,
    conditions,
    heading,
    heading_height,
    names_width,
    new_figure,
    panel,
    trials_of,
)
from bench.report.text.names import begun, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

MOST_CLASSES = 20  # of which each cell can hold its numbers
MOST_BLOCKS = 100  # rows of a matrix without numbers
MOST_PAIRS = 14
PAIR = 0.155  # inches of one in a column
CLASS = 16  # letters of its name
NARROWEST = 4.2  # inches: room for the heading


@dataclass(frozen=True)
class Confusion:
    """Counts over all seeds: `counts[i][j]` pictures of class i were taken for class j."""

    model: str
    conditions: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Confusions:
    """The same of many classes: counts of groups of neighbouring classes, and the pairs most often confused."""

    model: str
    conditions: str
    number: int
    group: int  # how many classes make a row
    counts: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[str, str, int, float], ...]  # true class, predicted, pictures, share of the true class


def confusion(contender: Contender) -> Confusion | Confusions | None:
    """Summed over the finished trials; None where there is none."""
    import numpy as np

    counts = confusion_counts(contender)
    if counts is None:
        return None
    record = contender.first
    model, names, number = shown(record.model.name, 60), record.data.classes, len(counts)
    about = f"{conditions(record)}; {int(counts.sum()):,} test pictures over {trials_of(len(contender.finished))}"
    if number <= MOST_CLASSES:
        return Confusion(model, about, _classes(names), _plain(counts))
    wrong = counts - np.diag(np.diag(counts))
    found = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    short = _classes(names)
    pairs = tuple(
        (short[true], short[predicted], int(wrong[true, predicted]),
         float(wrong[true, predicted] / counts[true].sum()))
        for true, predicted in (divmod(int(place), number) for place in found)
        if wrong[true, predicted]
    )  # fmt: skip
    group = -(-number // MOST_BLOCKS)
    starts = np.arange(0, number, group)
    blocks = np.add.reduceat(np.add.reduceat(counts, starts, axis=0), starts, axis=1)
    return Confusions(model, about, number, group, _plain(blocks), pairs)


def draw_confusion(values: Confusion | Confusions, width: float) -> Figure:
    return _draw_few(values, width) if isinstance(values, Confusion) else _draw_many(values, width)


def _draw_few(values: Confusion, width: float) -> Figure:
    """Each cell: the count, and below it the share of the row in percent; a cell without pictures is left blank.

    Where a cell has no room for both in letters of SMALL points, as in a column, it has the share alone.
    """
    number = len(values.classes)
    margin = names_width(values.classes) + 0.4
    side = min(max(2.4, min(5.0, 0.42 * number)), width - margin - 0.1)
    both = side / number > 0.38 or width > COLUMN
    about = values.conditions if both else f"{values.conditions}; cells: percent of the true class"
    wide = max(margin + side + 0.1, min(NARROWEST, width))
    figure = new_figure(margin + side + heading_height(about, wide) + 0.1, wide)
    heading(figure, values.model, about, wide)
    axes = panel(figure, margin, margin, margin + side, margin + side)
    shares = _shares(values.counts)
    _matrix(axes, shares, edge="white")
    size = min(SMALL, 72 * side / number / 2.9) if both else SMALL
    for true, row in enumerate(values.counts):
        for predicted, count in enumerate(row):
            if count:
                share = shares[true][predicted]
                text = f"{count}\n{_percent(share)}" if both else _percent(share).removesuffix(" %")
                axes.text(
                    predicted + 0.5, true + 0.5, text, size=size, ha="center", va="center",
                    color="white" if share > 45 else "black", linespacing=1.05,
                )  # fmt: skip
    # Texts rather than ticks, which take as long to draw as all the rest.
    longest, cell = names_width(values.classes), side / number
    wide = longest > 0.9 * cell
    gap = 0.06 / cell
    for place, name in enumerate(values.classes):
        axes.text(-gap, place + 0.5, name, size=SMALL, ha="right", va="center")
        axes.text(place + 0.5, number + gap, name, size=SMALL, ha="center", va="top", rotation=90 if wide else 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("predicted class", labelpad=72 * (longest + 0.1 if wide else 0.22))
    axes.set_ylabel("true class", labelpad=72 * (longest + 0.1))
    return figure


def _draw_many(values: Confusions, width: float) -> Figure:
    """The matrix without numbers, and beside it, in a column below it, the most frequent confusions."""
    beside = width > COLUMN
    above = heading_height(values.conditions, width)
    below = 0.0 if beside or not values.pairs else PAIR * len(values.pairs) + 0.35
    figure = new_figure(above + 2.25 + 0.55 + below, width)
    heading(figure, values.model, values.conditions)
    axes = panel(figure, 0.5, 0.5 + below, 2.75, 2.75 + below)
    mesh = _matrix(axes, _shares(values.counts), edge="none")
    scale = panel(figure, 2.8, 0.5 + below, 2.88, 2.75 + below)
    figure.colorbar(mesh, cax=scale, ticks=[0, 1, 5, 10, 25, 50, 100], format="%g", label="share of the row (%)")
    scale.minorticks_off()
    grouped = f", {values.group} to a row" if values.group > 1 else ""
    axes.set(xlabel=f"predicted class (number{grouped})", ylabel="true class (number)")
    ticks = [round(part * len(values.counts) / 5) for part in range(5)]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([place + 0.5 for place in ticks], [str(place * values.group + 1) for place in ticks])
    if values.pairs:
        _pairs(figure, values, *((3.6, 0.5, 2.85) if beside else (0.1, 0.05, below - 0.2)))
    return figure


def _pairs(figure: Figure, values: Confusions, left: float, bottom: float, top: float) -> None:
    """The most frequent confusions as bars, between these inches from the figure's left and lower edges."""
    names = [f"{true} as {predicted}" for true, predicted, _, _ in values.pairs]
    width, height = figure.get_size_inches()
    edge = min(left + names_width(names) + 0.05, width - 1.05)
    rows = MOST_PAIRS if top - bottom > PAIR * MOST_PAIRS else len(names)
    axes = panel(figure, edge, bottom, width - 0.75, top - 0.1)
    places = range(len(names))
    axes.barh(places, [count for _, _, count, _ in values.pairs], color=GREY, height=0.6)
    for place, (_, _, count, share) in zip(places, values.pairs, strict=True):
        axes.annotate(
            f"{count} ({_percent(100 * share)})", (count, place), (2, 0), textcoords="offset points", va="center",
            size=SMALL,
        )  # fmt: skip
    axes.set_yticks(places, names)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
    what = "most frequent: pictures (share of the class)"
    figure.text((left - 0.05) / width, top / height, what, size=SMALL, color=GREY)


def _matrix(axes: Axes, shares: list[list[float]], edge: str) -> QuadMesh:
    """The shares (percent of a row) as a mesh, the first class on top."""
    from matplotlib.colors import PowerNorm

    # The square root shows small shares, which are the confusions.
    norm = PowerNorm(0.5, 0, 100)
    mesh = axes.pcolormesh(shares, cmap="Blues", norm=norm, edgecolors=edge, linewidth=0.5)
    mesh.set_rasterized(len(shares) > MOST_CLASSES)
    axes.set_ylim(len(shares), 0)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return mesh


def _shares(counts: tuple[tuple[int, ...], ...]) -> list[list[float]]:
    return [[100 * count / (sum(row) or 1) for count in row] for row in counts]


def _classes(names: Sequence[str]) -> tuple[str, ...]:
    """In so many letters, read from their start, unless two would look the same."""
    short = tuple(begun(name, CLASS) for name in names)
    return short if len(set(short)) == len(set(names)) else tuple(shown(name, CLASS) for name in names)


def _percent(share: float) -> str:
    """`12 %`, `0.4 %`, `<0.1 %`."""
    if share >= 0.95:
        return f"{share:.0f} %"
    return f"{share:.1f} %" if share >= 0.05 else "<0.1 %"


def _plain(counts: object) -> tuple[tuple[int, ...], ...]:
    import numpy as np

    assert isinstance(counts, np.ndarray)
    return tuple(tuple(row) for row in counts.tolist())

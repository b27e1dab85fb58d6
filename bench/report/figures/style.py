"""How every figure looks, and its way from values to the bytes of a file.

A figure is a function of values alone: `draw(values)`, with values that are plain (numbers, texts, tuples and frozen
dataclasses of them; beside a path stands a digest of the file). So its digest follows from the values, it can be
drawn in another process, and the same values give the same bytes. Margins are given in inches rather than found by a
layout engine, which would draw each figure twice.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from bench.records.record import Record
from bench.report.text.names import shown

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

Values = TypeVar("Values")

# Okabe and Ito's colours, which colour-blind readers tell apart; line styles, markers and hatches do it in print.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
GREY = "#595959"
GRID = "#d9d9d9"

WIDTH = 6.7  # inches: 17 cm, a page's width
COLUMN = 3.4  # inches: of a page with two columns
DPI = 150
# Of a font: which letters stand for each other, and how near they come. Who reads a PDF needs none of it.
LAYOUT = ("GDEF", "GPOS", "GSUB", "BASE", "JSTF", "kern")
PACKED = 3  # of zlib's nine levels; the sixth, its usual, takes half as long again for a tenth fewer bytes
SMALL = 7  # points; texts are of 8, in a column all of 7
ROW, HANDLE, COLUMN_GAP = 0.15, 1.8, 1.2  # of a legend: inches; ems of a sample, and between two columns
LINE = 0.125  # inches from a small line of text to the next
GAP = 3  # points between an axis and its labels

INSTEAD = ["Verdana", "Arial", "sans-serif"]  # for readers of an SVG who lack matplotlib's font
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a `$` in a name is a dollar sign
    "text.hinting": "no_hinting",  # half the time of every text, and the widths that an SVG's reader finds
    "svg.fonttype": "none",  # texts stay texts: searchable, and small
    "svg.hashsalt": "bench",
    "pdf.fonttype": 42,  # TrueType, which publishers ask for
}
# Without dates, and without the versions of what wrote it.
OPTIONS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
    "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": PACKED}},
}


def render(draw: Callable[[Values, float], Figure], values: Values, form: str, width: float = WIDTH) -> bytes:
    """The figure, so many inches wide at most, as a file of that form, `png`, `svg` or `pdf`.

    The same values give the same bytes.
    """
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A user's own matplotlibrc would make other files. This leaves the backend alone: setting one imports pyplot.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        matplotlib.rcParams.update(dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), text_size(width)))
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # an empty box stands for it
        if form == "svg":
            matplotlib.rcParams["font.sans-serif"] = STYLE["font.sans-serif"] + INSTEAD
        with _lean_fonts() if form == "pdf" else nullcontext():
            drawn_once(draw, values, width).savefig(buffer, format=form, dpi=DPI, **OPTIONS[form])
    return buffer.getvalue()


@contextmanager
def _lean_fonts() -> Iterator[None]:
    """Within it a PDF gets its fonts without their LAYOUT: to thin that out took two thirds of all figures' time."""
    from fontTools import subset

    load = subset.load_font

    def lean(*arguments: Any, **options: Any) -> Any:
        font = load(*arguments, **options)
        for table in LAYOUT:
            if table in font:
                del font[table]
        return font

    subset.load_font = lean
    try:
        yield
    finally:
        subset.load_font = load


# The other form of the figure, where it is asked for next, needs no drawing from the start.
@lru_cache(maxsize=1)
def drawn_once(draw: Callable[[Values, float], Figure], values: Values, width: float) -> Figure:
    return draw(values, width)


def text_size(width: float) -> float:
    """The points of titles and axes in a figure of that width."""
    return 8 if width > COLUMN else SMALL


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of that size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def panel(figure: Figure, left: float, bottom: float, right: float, top: float, **options: Any) -> Axes:
    """Axes between those distances from the figure's left and bottom edges, in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, bottom / height, (right - left) / width, (top - bottom) / height), **options)


def scales(axes: Axes, left: bool = True) -> None:
    """The grid and the labels of the axes' major ticks, at the `left` too; to be called when their limits are known.

    A tick of matplotlib's own is four artists, and they took a third of such a figure's time.
    """
    from matplotlib.collections import LineCollection

    width, height = (72 * side / DPI for side in axes.bbox.size)
    columns, rows = _ticks(axes.xaxis), _ticks(axes.yaxis)
    across, up = axes.get_xaxis_transform(), axes.get_yaxis_transform()
    for place, label in columns:
        axes.text(place, -GAP / height, label, size=SMALL, ha="center", va="top", transform=across)
    for place, label in rows if left else ():
        axes.text(-GAP / width, place, label, size=SMALL, ha="right", va="center_baseline", transform=up)
    for transform, lines in (
        (across, [((place, 0), (place, 1)) for place, _ in columns]),
        (up, [((0, place), (1, place)) for place, _ in rows]),
    ):
        grid = LineCollection(lines, colors=GRID, linewidths=0.5, transform=transform, zorder=0.5)
        axes.add_collection(grid, autolim=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.xaxis.labelpad = GAP + SMALL + 3
    axes.yaxis.labelpad = GAP + 72 * max((text_width(label) for _, label in rows), default=0) + 3


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """The places of those within the axis's limits, and their labels."""
    from matplotlib.ticker import ScalarFormatter

    low, high = sorted(axis.get_view_interval())
    places = [float(place) for place in axis.get_majorticklocs() if low <= place <= high]
    formatter = axis.get_major_formatter()
    if isinstance(formatter, ScalarFormatter):
        formatter.set_scientific(False)  # no power of ten that stands apart from the labels
    return list(zip(places, formatter.format_ticks(places), strict=True))


def heading(figure: Figure, subject: str, rest: str, room: float = WIDTH) -> None:
    """The figure's title in its upper left corner: what it shows (in `room` inches), and under which conditions."""
    width, height = figure.get_size_inches()
    size = text_size(width)
    subject = fitted(subject, min(room, width) - 0.16, size, "bold")
    figure.text(0.08 / width, 1 - 0.08 / height, subject, va="top", weight="bold", size=size)
    for number, line in enumerate(wrapped(rest, width - 0.16)):
        figure.text(0.08 / width, 1 - (0.24 + LINE * number) / height, line, va="top", size=SMALL, color=GREY)


def heading_height(rest: str, width: float) -> float:
    """Inches from the figure's upper edge to below its heading."""
    return 0.3 + LINE * len(wrapped(rest, width - 0.16))


def key_below(figure: Figure, entries: Sequence[Artist], top: float) -> None:
    """The legend, in rows that the figure's width holds, `top` inches from its upper edge."""
    if not entries:
        return
    width, height = figure.get_size_inches()
    columns = _key_columns([str(one.get_label()) for one in entries], width)
    figure.legend(
        handles=list(entries), loc="upper left", bbox_to_anchor=(0.04 / width, 1 - top / height), ncols=columns,
        borderaxespad=0, borderpad=0.2, handletextpad=0.4, columnspacing=COLUMN_GAP, handlelength=HANDLE,
        labelspacing=0.35,
    )  # fmt: skip


def key_height(labels: Sequence[str], width: float) -> float:
    """Inches that the legend takes below the heading."""
    return 0.05 + ROW * -(-len(labels) // _key_columns(labels, width)) if labels else 0.05


def _key_columns(labels: Sequence[str], width: float) -> int:
    """As many as there is room for, each as wide as its widest entry; matplotlib fills them one after the other."""
    widths = [text_width(label) + (HANDLE + COLUMN_GAP + 0.5) * SMALL / 72 for label in labels]
    for columns in range(len(labels), 1, -1):
        rows, longer = divmod(len(labels), columns)  # so many columns have one row more
        starts = [column * rows + min(column, longer) for column in range(columns + 1)]
        if sum(max(widths[begin:end]) for begin, end in pairwise(starts)) < width - 0.1:
            return columns
    return 1


def wrapped(text: str, width: float) -> list[str]:
    """The text in lines of that many inches, a longer word cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(word, width))
    return lines


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """How wide the text is drawn, in inches."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size, weight=weight)
    width, _, _ = _ruler().get_text_width_height_descent(text, font, False)  # type: ignore[no-untyped-call]
    return float(width) / DPI


@cache
def _ruler() -> RendererAgg:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]


def names_width(names: Sequence[str], size: float = SMALL) -> float:
    """How wide the widest of the names is drawn, in inches."""
    return max(text_width(name, size) for name in names)


def fitted(
    name: str,
    width: float,
    size: float = SMALL,
    weight: str = "normal",
    shorter: Callable[[str, int], str] = shown,
) -> str:
    """The name, made `shorter` until it is no wider than that many inches, or than three letters."""
    length = len(name)
    text = shorter(name, length)
    while length > 3 and text_width(text, size, weight) > width:
        length -= 1
        text = shorter(name, length)
    return text


def conditions(record: Record) -> str:
    """The data and the size of its pictures, for a heading."""
    size = f", {record.model.input_size[-1]} pixels" if record.model.input_size else ""
    return f"{shown(record.data.name)}{size}, {record.data.train:,} training pictures"


def trials_of(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"

"""How every figure looks, and its way from values to the bytes of a file.

A figure is a function of values alone: `draw(values)`, with values that are plain (numbers, texts, tuples and frozen
dataclasses of them; a path stands for the file's content). So its digest follows from the values, it can be drawn in
another process, and the same values give the same bytes. Margins are given in inches rather than found by a layout
engine, which would draw each figure twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = TypeVar("Values")

# Okabe and Ito's colours, which colour-blind readers tell apart; line styles, markers and hatches do it in print.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
GREY = "#595959"

WIDTH = 6.7  # inches: 17 cm, a page's width
DPI = 150
SMALL = 7  # points; texts are of 8

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    # The first comes with matplotlib; the others are for readers of an SVG who lack it.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
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
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a `$` in a name is a dollar sign
    "svg.fonttype": "none",  # texts stay texts: searchable, and small
    "svg.hashsalt": "bench",
}


def render(draw: Callable[[Values], Figure], values: Values, form: str, inputs: str = "") -> bytes:
    """The figure as a file of that form, `png` or `svg`; the same values give the same bytes.

    `inputs` is the values' digest, needed where they name files.
    """
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A user's own matplotlibrc would make other files.
        matplotlib.rcParams.update(matplotlib.rcParamsDefault)
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # an empty box stands for it
        metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
        _drawn(draw, values, inputs).savefig(buffer, format=form, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


# The other form of the figure, where it is asked for next, needs no drawing from the start.
@lru_cache(maxsize=1)
def _drawn(draw: Callable[[Values], Figure], values: Values, inputs: str) -> Figure:
    return draw(values)


def digest(values: Any) -> str:
    """SHA-256 of what a figure is drawn from, the content of files included."""

    def plain(value: Any) -> Any:
        return hashlib.sha256(value.read_bytes()).hexdigest() if isinstance(value, Path) else vars(value)

    return hashlib.sha256(json.dumps(values, sort_keys=True, default=plain).encode()).hexdigest()


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


def heading(figure: Figure, subject: str, rest: str, room: float = WIDTH) -> None:
    """The figure's title in its upper left corner: what it shows (in `room` inches), and under which conditions."""
    width, height = figure.get_size_inches()
    subject = fitted(figure, subject, min(room, width) - 0.16, 8, "bold")
    rest = fitted(figure, rest, width - 0.16)
    figure.text(0.08 / width, 1 - 0.08 / height, subject, va="top", weight="bold")
    figure.text(0.08 / width, 1 - 0.24 / height, rest, va="top", size=SMALL, color=GREY)


def text_width(figure: Figure, text: str, size: float = SMALL, weight: str = "normal") -> float:
    """How wide the text is drawn, in inches."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size, weight=weight)
    width, _, _ = figure.canvas.get_renderer().get_text_width_height_descent(text, font, False)  # type: ignore[attr-defined]
    return float(width) / DPI


def names_width(figure: Figure, names: Sequence[str], size: float = SMALL) -> float:
    """How wide the widest of the names is drawn, in inches."""
    return max(text_width(figure, name, size) for name in names)


def shown(name: str, length: int = 32) -> str:
    """The name on one line, without what cannot be printed, and with its middle left out where it is longer."""
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    if len(name) <= length:
        return name
    return f"{name[: length - length // 2 - 1].rstrip()}…{name[-(length // 2) :].lstrip()}"


def distinct(names: Sequence[str], length: int = 32) -> list[str]:
    """The names as `shown`, each longer where two that differ would look the same."""
    texts = [shown(name, length) for name in names]
    if len(set(texts)) < len(set(names)) and length < max(len(name) for name in names):
        return distinct(names, length + 8)
    return texts


def fitted(figure: Figure, name: str, width: float, size: float = SMALL, weight: str = "normal") -> str:
    """The name, shortened until it is no wider than that many inches, or than three letters."""
    length = len(name)
    text = shown(name, length)
    while length > 3 and text_width(figure, text, size, weight) > width:
        length -= 1
        text = shown(name, length)
    return text


def conditions(record: Record) -> str:
    """The data and the size of its pictures, for a heading."""
    size = f", {record.model.input_size[-1]} pixels" if record.model.input_size else ""
    return f"{shown(record.data.name)}{size}, {record.data.train:,} training pictures"


def trials_of(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"

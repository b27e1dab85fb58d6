"""What the dataset looks like, and what a model was surest of and wrong about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.archive import UNREADABLE, arrays, checksums
from bench.records.comparison import Comparison, Contender, Trial
from bench.records.predictions import NAME as PREDICTIONS
from bench.report.figures.style import (
    SMALL,
    VERMILION,
    WIDTH,
    conditions,
    fitted,
    heading,
    heading_height,
    new_figure,
    text_width,
)
from bench.report.text.names import begun, shown

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLES_ACROSS, MISTAKES_ACROSS = 10, 6
MOST_CLASSES = 40
MOST_PITCH = 1.1  # inches from one picture to the next
NARROWEST = 3.4  # inches: room for the heading


@dataclass(frozen=True)
class Kept:
    """An archive beside a record, and what tells its content from another's."""

    file: Path
    checksums: str


@dataclass(frozen=True)
class Samples:
    """Training pictures of each class, in a trial's pictures.npz."""

    conditions: str
    classes: tuple[str, ...]
    pictures: Kept


@dataclass(frozen=True)
class Mistakes:
    """Test pictures that a trial's model was surest of and wrong about."""

    model: str
    conditions: str
    classes: tuple[str, ...]
    pictures: Kept
    predictions: Kept


def samples(comparison: Comparison) -> Samples | None:
    """From the trial with the lowest seed, and the first model by name, that kept some; None where none did."""
    trials = [trial for contender in comparison.contenders for trial in contender.trials]
    for trial in sorted(trials, key=lambda one: (one.record.seed, one.record.model.name)):
        if _number(trial, "samples"):
            return Samples(conditions(trial.record), tuple(trial.record.data.classes), _kept(trial, "pictures.npz"))
    return None


def mistakes(contender: Contender) -> Mistakes | None:
    """From the finished trial with the lowest seed that kept some; None where none did."""
    for trial in contender.finished:
        predictions = _kept(trial, PREDICTIONS)
        if predictions.checksums and _number(trial, "mistakes"):
            record = trial.record
            about = f"{conditions(record)}; seed {record.seed}; class, and what it was taken for with which confidence"
            return Mistakes(
                shown(record.model.name, 60), about,
                tuple(record.data.classes), _kept(trial, "pictures.npz"), predictions,
            )  # fmt: skip
    return None


def _kept(trial: Trial, name: str) -> Kept:
    return Kept(trial.folder / name, checksums(trial.folder / name))


def draw_samples(values: Samples, width: float) -> Figure:
    """Some pictures of each class, one above the other; of many classes, some spread evenly."""
    import numpy as np

    with arrays(values.pictures.file) as kept:
        pictures, labels = kept["samples"], kept["sample_label"]
    known = np.unique(labels)
    places = np.linspace(0, len(known) - 1, min(len(known), MOST_CLASSES))
    classes = [int(known[int(place)]) for place in places.round()]
    columns_at_most = round(SAMPLES_ACROSS * width / WIDTH)
    each = 4 if len(classes) <= 2 * SAMPLES_ACROSS else 2
    captions = [values.classes[label] for label in classes]
    columns = [pictures[labels == label][:each] for label in classes]
    some = f"; {len(classes)} of {len(values.classes)} classes" if len(classes) < len(values.classes) else ""
    across = min(columns_at_most, len(classes))
    pitch = min(MOST_PITCH, (width - 0.16) / across)
    tall = max(len(column) for column in columns)
    block = 0.24 + tall * pitch
    wide = max(NARROWEST, across * pitch + 0.16)
    top = heading_height(values.conditions + some, wide)
    figure = new_figure(top + block * -(-len(classes) // across), wide)
    heading(figure, "Training pictures", values.conditions + some)
    axes = _canvas(figure)
    for place, (caption, column) in enumerate(zip(captions, columns, strict=True)):
        x, y = 0.08 + place % across * pitch, top + place // across * block
        axes.text(x, y + 0.14, fitted(caption, pitch - 0.06, shorter=begun), size=SMALL)
        for row, picture in enumerate(column):
            _picture(axes, picture, x, y + 0.18 + row * pitch, pitch - 0.05)
    return figure


def draw_mistakes(values: Mistakes, width: float) -> Figure:
    """The surest first; below each, its class, what it was taken for, and how sure the model was of that."""
    import numpy as np

    with arrays(values.pictures.file) as kept:
        pictures, rows = kept["mistakes"], kept["mistake_index"]
    with arrays(values.predictions.file) as kept:
        labels, probabilities = kept["label"][rows], kept["probabilities"][rows]
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    order = np.argsort(-confidence, kind="stable")
    across = round(MISTAKES_ACROSS * width / WIDTH)
    pitch = (width - 0.16) / across
    block = pitch + 0.42
    top = heading_height(values.conditions, width)
    figure = new_figure(top + block * -(-len(order) // across), width)
    heading(figure, f"{values.model}: the surest mistakes", values.conditions)
    axes = _canvas(figure)
    for place, which in enumerate(order.tolist()):
        x, y = 0.08 + place % across * pitch, top + place // across * block
        side = pitch - 0.1
        _picture(axes, pictures[which], x, y, side)
        sure = f" {_sure(100 * confidence[which])}"
        taken = fitted(values.classes[predicted[which]], pitch - 0.03 - text_width(f"as {sure}"), shorter=begun)
        axes.text(x, y + side + 0.13, fitted(values.classes[labels[which]], side, shorter=begun), size=SMALL)
        axes.text(x, y + side + 0.26, f"as {taken}{sure}", size=SMALL, color=VERMILION)
    return figure


def _sure(percent: float) -> str:
    """Without decimals, which would take a name's room; no model is quite sure."""
    return f"{percent:.0f} %" if percent < 99.5 else ">99 %"


def _canvas(figure: Figure) -> Axes:
    """Axes over the whole figure in inches from its upper left corner."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def _picture(axes: Axes, picture: np.ndarray, left: float, top: float, side: float) -> None:
    """The picture (H, W, 3) in a square, its own proportions kept, its pixels as they are."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    # imshow would fit the axes' limits to the picture.
    axes.imshow(
        picture, extent=(left, left + scale * width, top + scale * height, top), interpolation="none", aspect="auto"
    )


def _number(trial: Trial, name: str) -> int:
    """How many pictures of that name lie beside the record; none where the file cannot be read."""
    file = trial.folder / "pictures.npz"
    if not file.is_file():
        return 0
    try:
        with arrays(file) as kept:
            return len(kept[name]) if name in kept else 0
    except UNREADABLE:
        return 0

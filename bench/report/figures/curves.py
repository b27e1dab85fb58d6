"""How training went: loss and accuracy by epoch, of one model and of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.records.comparison import Comparison, Contender
from bench.report.figures.style import (
    BLACK,
    BLUE,
    COLOURS,
    MARKERS,
    VERMILION,
    WIDTH,
    conditions,
    heading,
    heading_height,
    key_below,
    key_height,
    names_width,
    new_figure,
    panel,
    scales,
    trials_of,
)
from bench.report.text.names import distinct, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BANDS = "lines: mean, bands: lowest to highest seed"
MOST_MODELS = 12  # in one figure; more lines cannot be told apart
Series = tuple[tuple[float, ...], ...]  # of each seed, a value an epoch


@dataclass(frozen=True)
class Curves:
    """One model's training: losses in nats, top-1 in percent."""

    model: str
    conditions: str
    train_loss: Series
    val_loss: Series
    train_top1: Series
    val_top1: Series
    best_epochs: tuple[int, ...]  # of each seed, counted from 1


@dataclass(frozen=True)
class AllCurves:
    """Validation top-1 (percent) of several models, best first."""

    conditions: str
    models: tuple[tuple[str, Series], ...]
    left_out: int


def curves(contender: Contender) -> Curves | None:
    """None where no trial kept its history."""
    kept = [one.record.training for one in contender.finished if one.record.training]
    kept = [training for training in kept if training.history.val_top1]
    if not kept:
        return None
    record = contender.first
    return Curves(
        model=shown(record.model.name, 60),
        conditions=f"{conditions(record)}; {_seeds(len(kept))}",
        train_loss=tuple(tuple(one.history.train_loss) for one in kept),
        val_loss=tuple(tuple(one.history.val_loss) for one in kept),
        train_top1=tuple(_percent(one.history.train_top1) for one in kept),
        val_top1=tuple(_percent(one.history.val_top1) for one in kept),
        best_epochs=tuple(one.best_epoch for one in kept),
    )


def all_curves(comparison: Comparison) -> AllCurves | None:
    """The best models by test top-1; None where no trial kept its history."""
    models = []
    for contender in comparison.finished:
        histories = [one.record.training.history.val_top1 for one in contender.finished if one.record.training]
        series = tuple(_percent(history) for history in histories if history)
        if series:
            models.append((contender.model, series))
    if not models:
        return None
    best = models[:MOST_MODELS]
    names = distinct([name for name, _ in best], 28)
    drawn = tuple((name, series) for name, (_, series) in zip(names, best, strict=True))
    return AllCurves(conditions(comparison.first), drawn, len(models) - len(best))


def over_seeds(series: Series) -> tuple[list[float], list[float], list[float]]:
    """Mean, least and most by epoch, over the seeds that trained that long."""
    epochs = range(max((len(values) for values in series), default=0))
    by_epoch = [[values[epoch] for values in series if epoch < len(values)] for epoch in epochs]
    return [sum(one) / len(one) for one in by_epoch], [min(one) for one in by_epoch], [max(one) for one in by_epoch]


def draw_curves(values: Curves, width: float) -> Figure:
    """Loss and top-1 beside each other; in a column one above the other."""
    across = width >= WIDTH
    top = heading_height(values.conditions, width)
    above = top + key_height(("training", "validation", "best epoch"), width)
    tall, below = (1.75, 0.45) if across else (1.4, 0.42)
    figure = new_figure(above + (tall + below) * (1 if across else 2), width)
    heading(figure, values.model, values.conditions)
    if across:
        first = panel(figure, 0.55, below, 3.25, below + tall, xlabel="epoch")
        second = panel(figure, 3.95, below, width - 0.1, below + tall, xlabel="epoch")
    else:
        first = panel(figure, 0.55, 2 * below + tall + 0.05, width - 0.1, 2 * (below + tall))
        second = panel(figure, 0.55, below, width - 0.1, below + tall - 0.05, xlabel="epoch")
    first.set_ylabel("mean loss (nats)")
    second.set_ylabel("top-1 (%)")
    for axes, train, val in ((first, values.train_loss, values.val_loss), (second, values.train_top1, values.val_top1)):
        _line(axes, train, "training", VERMILION, "--")
        _line(axes, val, "validation", BLUE, "-")
        # An epoch outside the history, as of a trial that ended before its first epoch did, has no mark.
        best = [
            (epoch, one[epoch - 1])
            for epoch, one in zip(values.best_epochs, val, strict=True)
            if 1 <= epoch <= len(one)
        ]
        axes.plot(
            [epoch for epoch, _ in best], [value for _, value in best], linestyle="none", marker="*", markersize=8,
            markerfacecolor="white", markeredgecolor=BLACK, markeredgewidth=0.8, label="best epoch", zorder=5,
        )  # fmt: skip
        _epochs(axes, max(len(one) for one in (*train, *val)))
    key_below(figure, second.get_legend_handles_labels()[0], top)
    return figure


def draw_all_curves(values: AllCurves, width: float) -> Figure:
    """The legend at the right; in a column above."""
    beside = width >= WIDTH
    names = [name for name, _ in values.models]
    number = len(names)
    which = f"the best {number} of {number + values.left_out} models by test top-1" if values.left_out else ""
    bands = BANDS if any(len(series) > 1 for _, series in values.models) else ""
    about = "; ".join(part for part in (values.conditions, which, bands) if part)
    top = heading_height(about, width)
    above = top + 0.05 if beside else top + key_height(names, width)
    tall = 2.5 if beside else 1.9
    figure = new_figure(above + tall + 0.45, width)
    heading(figure, "Validation top-1 by epoch", about)
    edge = width - names_width(names) - 0.5 if beside else width - 0.1
    axes = panel(figure, 0.55, 0.45, edge, 0.45 + tall, xlabel="epoch", ylabel="validation top-1 (%)")
    for index, (name, series) in enumerate(values.models):
        mean, low, high = over_seeds(series)
        every, colour = max(1, len(mean) // 8), COLOURS[index % len(COLOURS)]
        if len(series) > 1:
            axes.fill_between(range(1, len(mean) + 1), low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(
            range(1, len(mean) + 1), mean, label=name, color=colour, linewidth=1,
            linestyle=("-", "--")[index // len(COLOURS) % 2], marker=MARKERS[index % len(MARKERS)], markersize=4,
            markevery=(index % every, every),
        )  # fmt: skip
    _epochs(axes, max(len(one) for _, series in values.models for one in series))
    if beside:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=2.2, borderaxespad=0.3)
    else:
        key_below(figure, axes.get_legend_handles_labels()[0], top)
    return figure


def _line(axes: Axes, series: Series, label: str, colour: str, style: str) -> None:
    mean, low, high = over_seeds(series)
    epochs = range(1, len(mean) + 1)
    if len(series) > 1:
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
    marker = "." if len(mean) <= 30 else None
    axes.plot(epochs, mean, style, color=colour, linewidth=1.2, marker=marker, markersize=4, label=label)


def _epochs(axes: Axes, number: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0.5 if number < 10 else 0, number + max(0.5, number / 40))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 2.5, 5, 10)))
    scales(axes)


def _percent(shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(100 * share for share in shares)


def _seeds(count: int) -> str:
    return trials_of(count) + ("" if count == 1 else f"; {BANDS}, stars: each seed's best epoch")

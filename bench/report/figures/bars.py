"""What a training step consists of, as stacked bars: where its time goes, and its memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.records.comparison import Comparison
from bench.records.record import Record
from bench.report.figures.style import (
    BLUE,
    GREEN,
    SKY,
    SMALL,
    VERMILION,
    WIDTH,
    conditions,
    distinct,
    heading,
    names_width,
    new_figure,
    panel,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DISTURBED = " †"  # after the name of a model whose step was not measured in peace
HALF = 0.36  # of a bar's height; the next one begins 1 below
YELLOW = "#F0E442"  # the eighth of Okabe and Ito's colours: too light for a line
# Name, colour, hatch: neighbours differ in lightness, or by a hatch.
PHASES = (("data", YELLOW, ""), ("forward", SKY, ""), ("backward", BLUE, ""), ("optimizer", VERMILION, "...."))
MEMORY = (
    ("parameters", BLUE, ""), ("gradients", SKY, ""), ("optimizer", VERMILION, "...."),
    ("activations", YELLOW, ""), ("inputs", GREEN, "////"), ("other", "#BBBBBB", ""),
)  # fmt: skip

# The batch of a record's training step, its parts, and whether other work disturbed it.
Read = Callable[[Record], tuple[int, Mapping[str, float], bool] | None]


@dataclass(frozen=True)
class Bars:
    """The parts of each model's total, least total first."""

    title: str
    conditions: str
    label: str
    parts: tuple[tuple[str, str, str], ...]
    models: tuple[tuple[str, tuple[float, ...]], ...]
    shares: bool  # whether to draw the parts of 100 % too


def step_time(comparison: Comparison) -> Bars | None:
    """Milliseconds of the phases of a training step; None where none was measured."""
    models, batch = _models(comparison, PHASES, 1e3, _phases)
    if not models:
        return None
    about = conditions(comparison.first)
    if any(name.endswith(DISTURBED) for name, _ in models):
        about += f";{DISTURBED}: other work disturbed it"
    return Bars("Where the time of a training step goes", about, f"ms a training step{batch}", PHASES, models, True)


def step_memory(comparison: Comparison) -> Bars | None:
    """Megabytes by what takes them, at the moment when a training step needs most; None where none was measured."""
    models, batch = _models(comparison, MEMORY, 1e-6, _memory)
    if not models:
        return None
    about = conditions(comparison.first)
    return Bars("Memory at the peak of a training step", about, f"MB (10⁶ bytes){batch}", MEMORY, models, False)


def draw_bars(values: Bars) -> Figure:
    parts = [part for index, part in enumerate(values.parts) if any(amounts[index] for _, amounts in values.models)]
    kept = [[amounts[values.parts.index(part)] for part in parts] for _, amounts in values.models]
    number = len(kept)
    inside = number * (0.2 if number <= 30 else 0.16)
    figure = new_figure(inside + 1.15)
    heading(figure, values.title, values.conditions)
    names = [name for name, _ in values.models]
    left, top = names_width(names) + 0.2, inside + 0.5
    # Room at the right of the bars for their totals.
    end = left + (WIDTH - left) * 0.55 if values.shares else WIDTH
    axes = panel(figure, left, 0.5, end - 0.5, top, xlabel=values.label)
    _stack(axes, kept, parts)
    for place, amounts in enumerate(kept):
        total = sum(amounts)
        axes.annotate(
            f"{total:.3g}" if total < 100 else f"{total:,.0f}", (total, place), (3, 0), textcoords="offset points",
            va="center", size=SMALL,
        )  # fmt: skip
    # Texts rather than ticks, which take far longer to draw.
    rows = axes.get_yaxis_transform()
    for place, name in enumerate(names):
        axes.text(-0.055 / (end - 0.5 - left), place, name, transform=rows, ha="right", va="center", size=SMALL)
    axes.set_yticks([])
    if values.shares:
        beside = panel(figure, end + 0.05, 0.5, WIDTH - 0.15, top, xlabel="share of the step (%)")
        shares = [[100 * amount / (sum(amounts) or 1) for amount in amounts] for amounts in kept]
        _stack(beside, shares, parts)
        beside.set_xlim(0, 100)
        beside.set_yticks([])
        for place, row in enumerate(shares):
            start = 0.0
            for share, (_, colour, _) in zip(row, parts, strict=True):
                if share >= 12:
                    beside.text(
                        start + share / 2, place, f"{share:.0f}", size=SMALL, ha="center", va="center_baseline",
                        color="white" if colour == BLUE else "black",
                    )  # fmt: skip
                start += share
    figure.legend(
        *axes.get_legend_handles_labels(), loc="upper right", bbox_to_anchor=(1.0, 1 - 0.38 / (inside + 1.15)),
        ncols=len(parts), borderaxespad=0.2, columnspacing=1.2, handlelength=1.6,
    )  # fmt: skip
    return figure


def _stack(axes: Axes, rows: list[list[float]], parts: list[tuple[str, str, str]]) -> None:
    from matplotlib.collections import PolyCollection

    starts = [0.0] * len(rows)
    for index, (name, colour, hatch) in enumerate(parts):
        ends = [start + row[index] for start, row in zip(starts, rows, strict=True)]
        boxes = [
            [(start, place - HALF), (end, place - HALF), (end, place + HALF), (start, place + HALF)]
            for place, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
        # One artist for all models' bars, which is drawn far faster than one for each.
        axes.add_collection(
            PolyCollection(boxes, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.4, label=name)
        )
        starts = ends
    axes.set_xlim(0, 1.05 * max(starts) or 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def _models(
    comparison: Comparison, parts: tuple[tuple[str, str, str], ...], scale: float, read: Read
) -> tuple[tuple[tuple[str, tuple[float, ...]], ...], str]:
    """Each model's parts, mean over its trials, and the batch in words: of all, or beside each name where they differ.

    What is none of the named parts counts as the last.
    """
    found = []
    for contender in comparison.finished:
        steps = [step for trial in contender.finished if (step := read(trial.record))]
        if steps:
            names = [name for name, _, _ in parts]
            total = dict.fromkeys(names, 0.0)
            for _, amounts, _ in steps:
                for name, amount in amounts.items():
                    total[name if name in total else names[-1]] += scale * amount / len(steps)
            mark = DISTURBED if any(disturbed for _, _, disturbed in steps) else ""
            found.append((contender.model, steps[0][0], tuple(total.values()), mark))
    found.sort(key=lambda one: sum(one[2]))
    batches = {batch for _, batch, _, _ in found}
    same = len(batches) == 1
    names = distinct([name for name, _, _, _ in found], 28)
    rows = tuple(
        (f"{name}{'' if same else f' ({batch})'}{mark}", amounts)
        for name, (_, batch, amounts, mark) in zip(names, found, strict=True)
    )
    return rows, f", batch of {batches.pop()}" if same else ", batch in brackets"


def _phases(record: Record) -> tuple[int, Mapping[str, float], bool] | None:
    step = record.measured.train_step
    return (step.batch or 0, step.phases, bool(step.disturbed)) if step and step.phases else None


def _memory(record: Record) -> tuple[int, Mapping[str, float], bool] | None:
    memory = record.measured.memory
    return (memory.train_batch or 0, memory.train_breakdown, False) if memory and memory.train_breakdown else None

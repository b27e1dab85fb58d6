"""Figures of the comparisons, each as PNG and SVG in the protocol's folder `figures/`.

Those that are no pictures stand in `figures/column/` too, as PDF: 3.4 inches wide, a paper's column, in letters of 7
points.

Of a comparison: `accuracy` (against GMACs and a training step), `accuracy-COST` for each cost, `extensions` (the same
of extended models, with arrows from their bases), `curves`, `time`, `memory`, `samples`. Of a model: `curves-MODEL`,
`confusion-MODEL`, `mistakes-MODEL`. What a comparison's records do not hold has no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.files import file_name
from bench.records.comparison import Comparison
from bench.report.artifact import Artifact
from bench.report.figures.bars import step_memory, step_time
from bench.report.figures.confusion import confusion, draw_confusion
from bench.report.figures.curves import all_curves, curves, draw_all_curves, draw_curves
from bench.report.figures.pareto import costs, extended
from bench.report.figures.pictures import draw_mistakes, draw_samples, mistakes, samples
from bench.report.figures.scatter import draw_pareto
from bench.report.figures.stacks import draw_bars
from bench.report.figures.style import COLUMN, render

FORMS = ("png", "svg")
PICTURES = (draw_samples, draw_mistakes)  # which a paper prints across the page
Draw = Callable[[Any, float], Any]


def artifacts(comparisons: Sequence[Comparison]) -> Iterator[Artifact]:
    """Every figure of the comparisons that their records and pictures allow."""
    for comparison in comparisons:
        for name, draw, values in _figures(comparison):
            for form in FORMS:
                yield Artifact(figure_file(comparison, name, form), partial(render, draw, values, form))
            if draw not in PICTURES:
                yield Artifact(column_file(comparison, name), partial(render, draw, values, "pdf", COLUMN))


def figure_file(comparison: Comparison, name: str, form: str = "png") -> Path:
    """Where the figure of that name lies; where a folder holds several comparisons, their fingerprints tell them."""
    apart = comparison.name.removeprefix(comparison.folder.name)
    return comparison.folder / "figures" / f"{name}{apart}.{form}"


def column_file(comparison: Comparison, name: str) -> Path:
    """Where the figure of that name lies in a column's width."""
    file = figure_file(comparison, name, "pdf")
    return file.parent / "column" / file.name


def model_figure(kind: str, model: str) -> str:
    """The name of a model's figure; `kind` is `curves`, `confusion` or `mistakes`."""
    return f"{kind}-{file_name(model)}"


def _figures(comparison: Comparison) -> Iterator[tuple[str, Draw, Any]]:
    """Name, drawing function and values of each figure."""
    against = costs(comparison) if comparison.finished else {}
    for cost, drawn in against.items():
        yield f"accuracy-{cost}" if cost else "accuracy", draw_pareto, drawn
    together: list[tuple[str, Draw, Any]] = [
        ("extensions", draw_pareto, extended(comparison, against.get(""))),
        ("curves", draw_all_curves, all_curves(comparison)),
        ("time", draw_bars, step_time(comparison)),
        ("memory", draw_bars, step_memory(comparison)),
        ("samples", draw_samples, samples(comparison)),
    ]
    for contender in comparison.finished:
        together += [
            (model_figure("curves", contender.model), draw_curves, curves(contender)),
            (model_figure("confusion", contender.model), draw_confusion, confusion(contender)),
            (model_figure("mistakes", contender.model), draw_mistakes, mistakes(contender)),
        ]
    yield from (one for one in together if one[2] is not None)

"""The classification report of each model: precision, recall, F1 and support of every class, mean over seeds."""

from __future__ import annotations

import csv
import io
import math

from bench.records.classes import METRICS, ClassRow, class_rows
from bench.records.comparison import Comparison, Contender
from bench.report.tables.latex import document, fitting, floating
from bench.report.text.markup import Cell, Table, markdown, written
from bench.report.text.titles import title

HEADERS = ("class", "precision", "recall", "F1", "support")
HOW_TO_READ = (
    "Of the test pictures. Precision: which share of those called the class are of it. Recall: which share of those of "
    "the class are called it. F1: their harmonic mean. Support: how many are of the class. Means over seeds; the last "
    "row is the mean over the classes, each counting alike."
)


def has_classes(comparison: Comparison) -> bool:
    """Whether any model's metrics by class are known."""
    return any(class_rows(contender) for contender in comparison.finished)


def _table(rows: list[ClassRow]) -> Table:
    means = [math.fsum(row.values[column] for row in rows) / len(rows) for column in range(3)]
    total = math.fsum(row.values[3] for row in rows)
    every = [*rows, ClassRow("mean, and all pictures", (*means, total))]
    cells = [
        [Cell(row.name), *(Cell(f"{value:.4f}") for value in row.values[:3]), Cell(f"{row.values[3]:.0f}")]
        for row in every
    ]
    return Table(HEADERS, cells)


def _seeds(contender: Contender) -> str:
    count = len(contender.finished)
    return f"{count} seeds" if count > 1 else f"seed {contender.finished[0].record.seed}"


def classes_page(comparison: Comparison) -> bytes:
    """One table a model, best model first, in Markdown."""
    parts = [f"# {markdown(title(comparison))}: the models by class", HOW_TO_READ]
    for contender in comparison.finished:
        if rows := class_rows(contender):
            parts += [f"## {markdown(contender.model)}", _seeds(contender), written(_table(rows), "markdown")]
    return ("\n\n".join(parts) + "\n").encode()


def classes_latex(comparison: Comparison) -> bytes:
    """One table a model, for the package booktabs, each with the model's name in its caption."""
    parts = []
    for contender in comparison.finished:
        if rows := class_rows(contender):
            caption = f"{title(comparison)}, {contender.model}, {_seeds(contender)}: by class."
            label = "-".join(["tab:bench", comparison.name, contender.model, "classes"])
            parts += [floating(table, caption, label) for table in fitting(_table(rows))]
    return document(parts)


def classes_csv(comparison: Comparison) -> bytes:
    """One row a model and class, with twelve digits and the number of seeds."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["model", "class", *METRICS, "n"])
    for contender in comparison.finished:
        for row in class_rows(contender):
            values = [f"{value:.12g}" for value in row.values]
            writer.writerow([contender.model, row.name, *values, len(contender.finished)])
    return stream.getvalue().encode()

"""Tables of LaTeX that fit: at most seven columns, no wider than the text of an article, with caption and label."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bench.report.text.markup import Cell, Table, latex, written
from bench.report.text.names import distinct

COLUMNS = 7
NAME = 26  # letters of a model's name
# Points: of the text of LaTeX's article in 10 pt; of a letter in its \\footnotesize, the widest digits and most others;
# of the space between two columns, which `floating` sets.
TEXT, LETTER, BETWEEN = 345.0, 4.3, 6.0


def fitting(table: Table) -> Iterator[Table]:
    """The table in as few as it takes, each with the first column: a model's name, shortened to what tells it apart."""
    names = distinct([row[0].text for row in table.rows], NAME)
    first = [Cell(name, row[0].mark) for name, row in zip(names, table.rows, strict=True)]
    room = TEXT - width([table.headers[0], *(cell.text for cell in first)])
    columns: list[int] = []
    used = 0.0
    for column in range(1, len(table.headers)):
        own = width([table.headers[column], *(_shown(row[column]) for row in table.rows)]) + BETWEEN
        if columns and (len(columns) + 1 == COLUMNS or used + own > room):
            yield _of(table, first, columns)
            columns, used = [], 0.0
        columns.append(column)
        used += own
    if columns:
        yield _of(table, first, columns)


def _of(table: Table, first: Sequence[Cell], columns: Sequence[int]) -> Table:
    rows = [[cell, *(row[column] for column in columns)] for cell, row in zip(first, table.rows, strict=True)]
    left = {place for place, column in enumerate([0, *columns]) if column in table.left}
    return Table([table.headers[0], *(table.headers[column] for column in columns)], rows, frozenset(left))


def _shown(cell: Cell) -> str:
    return {"tie": "≈ ", "unknown": "? "}.get(cell.mark, "") + cell.text


def width(texts: Sequence[str]) -> float:
    """Points of the widest of these in a cell; bold is a little wider, and braces are none."""
    return max(map(len, texts), default=0) * LETTER


def floating(table: Table, caption: str, label: str) -> str:
    """The table as a float, with caption and label, in small letters close together."""
    key = re.sub(r"[^A-Za-z0-9:.-]", "-", label)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            f"\\caption{{{latex(caption)}}}",
            f"\\label{{{key}}}",
            written(table, "latex"),
            r"\end{table}",
        ]
    )


def document(tables: Sequence[str]) -> bytes:
    """A file of such tables, for \\input."""
    head = "% Made by `python -m bench report` from the records in this folder; needs \\usepackage{booktabs}."
    return ("\n\n".join([head, *tables]) + "\n").encode()

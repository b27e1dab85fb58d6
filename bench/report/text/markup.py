"""A table of cells as Markdown, LaTeX or plain text, in which no name from a plugin or folder breaks anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import tabulate

Style = Literal["plain", "markdown", "latex"]


@dataclass(frozen=True)
class Cell:
    """A cell's text, and whether it is the best of its column, a tie with the best, or not to be compared with it."""

    text: str
    mark: Literal["", "best", "tie", "unknown"] = ""


@dataclass(frozen=True)
class Table:
    """Headers and rows; `left` are the numbers of the columns of words, aligned left."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: frozenset[int] = frozenset({0})


def written(table: Table, style: Style) -> str:
    """The table in that style; LaTeX is a tabular for the package booktabs."""
    escape = ESCAPES[style]
    rows = [[_marked(escape(cell.text), cell.mark, style) for cell in row] for row in table.rows]
    alignment = ["left" if column in table.left else "right" for column in range(len(table.headers))]
    with _narrow():
        text = tabulate.tabulate(
            rows,
            [escape(header) for header in table.headers],
            tablefmt={"plain": "simple", "markdown": "pipe", "latex": "latex_raw"}[style],
            disable_numparse=True,
            colalign=alignment if rows else None,
        )
    return _booktabs(text) if style == "latex" else text


@contextmanager
def _narrow() -> Iterator[None]:
    """tabulate counting letters: a table must not depend on whether the package wcwidth happens to be installed."""
    before, tabulate.WIDE_CHARS_MODE = tabulate.WIDE_CHARS_MODE, False
    try:
        yield
    finally:
        tabulate.WIDE_CHARS_MODE = before


def _marked(text: str, mark: str, style: Style) -> str:
    """Best: bold, a star in plain text. A tie: ≈ before it. Unknown: ? before it."""
    if mark == "best":
        return {"plain": f"* {text}", "markdown": f"**{text}**", "latex": rf"\textbf{{{text}}}"}[style]
    if mark == "tie":
        return f"{ESCAPES[style]('≈')} {text}"
    if mark == "unknown":
        return f"? {text}"
    return text


def _booktabs(text: str) -> str:
    """tabulate writes three times `\\hline`; its own booktabs format would escape what is escaped already."""
    for rule in ("toprule", "midrule", "bottomrule"):
        text = text.replace("\n\\hline\n", f"\n\\{rule}\n", 1)
    return text


def plain(text: str) -> str:
    """One line without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def markdown(text: str) -> str:
    """The text as it reads, in a cell, a heading or a paragraph of Markdown."""
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|~$]|\](?=[\[(]))", r"\\\1", text)
    # Within a word an underscore means nothing; escaping it there would spoil the text for who reads the source.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    text = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)  # no list, and no heading
    return re.sub(r"^(?=[#+=-])", r"\\", text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row it would begin an optional argument
    "]": "{]}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "†": r"$^\dagger$",
    "⁶": r"\textsuperscript{6}",
    "…": r"\dots{}",
}


def latex(text: str) -> str:
    """The text as it reads, in LaTeX's text mode."""
    return "".join(_LATEX.get(letter, letter) for letter in plain(text))


ESCAPES = {"plain": plain, "markdown": markdown, "latex": latex}


def paragraphs(lines: Iterable[str], style: Style) -> str:
    """Sentences beneath a table: paragraphs in plain text, list items in Markdown, small print in LaTeX."""
    escaped = [ESCAPES[style](line) for line in lines]
    if style == "latex":
        return "\n".join(["\\par\\medskip", "{\\footnotesize", *(f"{line}\\par" for line in escaped), "}"])
    return "\n".join(f"- {line}" for line in escaped) if style == "markdown" else "\n".join(escaped)

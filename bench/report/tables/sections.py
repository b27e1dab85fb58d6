"""Marked sections of a text: a table in a README that the report writes, and that its check holds against the records.

    <!-- bench report results/quick comparison -->
    <!-- bench report results/quick comparison: accuracy, gmacs, memory -->
    <!-- bench report results/quick extensions -->
    …
    <!-- end -->

Each marker stands on a line of its own, at its beginning. The path is a protocol's folder, as seen from the text's own
folder; after the colon are the columns' keys (bench/records/quantities.py), else all that were measured. `extensions`
is the table of what each extension changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import RequestError, unknown
from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY
from bench.report.tables.comparison import comparison_table, machines, notes
from bench.report.tables.extensions import extensions_read, extensions_table
from bench.report.tables.times import timed_elsewhere
from bench.report.text.markup import markdown, written

BEGIN = "<!-- bench report "
END = "<!-- end -->"
MARKER = re.compile(
    r"<!-- bench report (?P<folder>\S(?:.*\S)?) "
    r"(?:comparison(?:: *(?P<columns>[^>]*?))?|(?P<extensions>extensions)) -->"
)


@dataclass(frozen=True)
class MarkedText:
    """A text with sections of this results folder: what it should be, and the lines of the sections that are not."""

    file: Path
    wanted: str
    stale: tuple[int, ...]


def find(texts: Sequence[Path], results: Path, comparisons: Sequence[Comparison]) -> list[MarkedText]:
    """Those of the Markdown files that have sections of that results folder; a folder stands for the files in it.

    Raises RequestError for a malformed marker, and for one that names what there is no record of.
    """
    found = []
    files = (file for text in texts for file in (sorted(text.glob("*.md")) if text.is_dir() else [text]))
    for file in {file.resolve(): file for file in files}.values():
        content = file.read_bytes()
        if BEGIN.encode() in content:
            try:
                marked = renewed(file, content.decode(), results, comparisons)
            except UnicodeDecodeError:
                raise RequestError(f"{file.name}: has marked sections, and is not UTF-8") from None
            found += [marked] if marked else []
    return found


def renewed(file: Path, text: str, results: Path, comparisons: Sequence[Comparison]) -> MarkedText | None:
    """The text with its sections of that results folder made anew; None where it has none."""
    lines, stale, own = [], [], 0
    waiting = iter(enumerate(text.split("\n"), start=1))
    for number, line in waiting:
        lines.append(line)
        if not line.startswith(BEGIN):
            continue
        place = f"{file.name}, line {number}"
        marker = MARKER.fullmatch(line.rstrip())
        if marker is None:
            raise RequestError(
                f"{place}: not a marker: {BEGIN}RESULTS/PROTOCOL comparison[: COLUMN, …] -->, or … extensions -->"
            )
        inside: list[str] = []
        for _, line in waiting:
            if line.startswith(BEGIN):
                raise RequestError(f"{place}: the section has no {END}")
            if line.rstrip() == END:
                break
            inside.append(line)
        else:
            raise RequestError(f"{place}: the section has no {END}")
        section = (file.parent / marker["folder"]).resolve()
        if section.parent == results.resolve():
            own += 1
            wanted = _section(place, marker, section, comparisons).split("\n")
            stale += [number] if wanted != inside else []
            inside = wanted
        lines += [*inside, END]
    return MarkedText(file, "\n".join(lines), tuple(stale)) if own else None


def _section(place: str, marker: re.Match[str], folder: Path, comparisons: Sequence[Comparison]) -> str:
    keys = [key.strip() for key in marker["columns"].split(",")] if marker["columns"] else None
    for key in keys or ():
        if key not in BY_KEY:
            problem = unknown("column", key, BY_KEY, "bench/records/quantities.py")
            raise RequestError(f"{place}: {problem}")
    own = [one for one in comparisons if one.folder.resolve() == folder]
    if not own:
        raise RequestError(f"{place}: {marker['folder']} has no records")
    if marker["extensions"]:
        return "\n".join(["", "\n\n".join(_extensions(place, marker, own)), ""])
    parts = []
    for one in own:
        made_on = "; ".join([*machines(one), *(f"timed on {machine}" for machine in timed_elsewhere(one, keys))])
        source = (
            f"From {marker['folder']}: protocol {one.first.protocol.name} ({one.first.protocol.fingerprint[:12]}), "
            f"data {one.first.data.name} ({one.first.data.fingerprint[:12]}), {made_on}."
        )
        _, *rest = notes(one, keys)
        parts += [written(comparison_table(one, keys), "markdown"), markdown(" ".join([*rest, source]))]
    return "\n".join(["", "\n\n".join(parts), ""])


def _extensions(place: str, marker: re.Match[str], comparisons: Sequence[Comparison]) -> Iterator[str]:
    tables = {one.name: (one, extensions_table(one)) for one in comparisons}
    if not any(table for _, table in tables.values()):
        raise RequestError(f"{place}: {marker['folder']} has no extended model beside its base")
    for one, table in tables.values():
        if table:
            yield written(table, "markdown")
            yield markdown(" ".join([*extensions_read(one), f"From {marker['folder']}."]))

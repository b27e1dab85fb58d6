"""What is printed fits the terminal: sentences are wrapped, and a table has fewer columns rather than broken ones."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

# Of a table the line below its headers: dashes as long as each column is wide.
RULE = re.compile(r"-+(  -+)+")
READABLE = 24  # of a column of words so much at least is shown; what is cut ends in …
FIRST = "status"  # the column that says what went wrong comes before all but the names
LEFT_OUT = "not shown in so narrow a terminal: {}; a wider one, a pipe or --json has all"


def fitted(text: str, width: int) -> str:
    """The text in so many columns, where that can be: words too long for it, and what is indented, stay as they are."""
    return "\n".join(_fitted(text.split("\n"), width))


def _fitted(lines: Sequence[str], width: int) -> Iterator[str]:
    place = 0
    while place < len(lines):
        if place + 1 < len(lines) and RULE.fullmatch(lines[place + 1]):
            end = next((row for row in range(place, len(lines)) if not lines[row]), len(lines))
            yield from _table(lines[place:end], width)
            place = end
            continue
        line = lines[place]
        yield from [line] if line.startswith(" ") or len(line) <= width else _wrapped(line, width)
        place += 1


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def _table(lines: Sequence[str], width: int) -> Iterator[str]:
    """As many of its columns as fit, in their order: the first one, what went wrong, then each that has room.

    Words are cut where there is room for some of them.
    """
    columns = [found.span() for found in re.finditer(r"-+", lines[1])]
    cells = [[line[start:end] for start, end in columns] for line in lines]
    names = [header.strip() for header in cells[0]]
    kept, room = [0], width - len(cells[1][0])
    for place in sorted(range(1, len(columns)), key=lambda place: (names[place] != FIRST, place)):
        if 2 + len(cells[1][place]) > room >= 2 + READABLE and all(row[place][:1] != " " for row in cells):
            for row in cells:
                row[place] = _cut(row[place].rstrip(), room - 2)
        if (needed := 2 + len(cells[1][place])) <= room:
            kept.append(place)
            room -= needed
    kept.sort()
    for row in cells:
        yield "  ".join(row[place] for place in kept).rstrip()
    if out := [name for place, name in enumerate(names) if place not in kept]:
        yield from _wrapped(LEFT_OUT.format(", ".join(out)), width)


def _cut(text: str, most: int) -> str:
    if set(text) == {"-"}:
        return text[:most]
    return text.ljust(most) if len(text) <= most else f"{text[: most - 1]}…"

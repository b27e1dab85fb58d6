"""What the commands print: one JSON document, a table, warnings on standard error."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from bench.cli.terminal import fitted

# Control characters other than a tab and the end of a line: a terminal would do what they say.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """The text with control characters written out: it may come from anybody's records, paths and plugins."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def say(text: object) -> None:
    """To standard output; in a terminal as wide as that is."""
    line = plain(str(text))
    print(fitted(line, shutil.get_terminal_size().columns) if sys.stdout.isatty() else line)


def warn(lines: Iterable[str]) -> None:
    """Each line to standard error."""
    for line in lines:
        print(plain(line), file=sys.stderr)


def print_json(document: Any) -> None:
    """The document, to standard output."""
    print(json.dumps(document, indent=1, allow_nan=False))


def print_list(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows as JSON, or as a table with lists and options written out."""
    if as_json:
        print_json(rows)
        return
    from tabulate import tabulate

    def written(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key}={default}" for key, default in value.items())
        return ", ".join(value) if isinstance(value, list) else str(value)

    table = [{key: written(value) for key, value in row.items()} for row in rows]
    say(tabulate(table, headers="keys", disable_numparse=True) if table else "none")

"""Finds the comparison that a command is about, and says what to do where that is not clear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import RequestError, unknown
from bench.records.comparison import Comparison, read_comparisons
from bench.records.dotted import dotted
from bench.records.record import Record


def comparisons_in(results: Path) -> tuple[list[Comparison], list[str]]:
    """Its comparisons, and a line for each damaged record. RequestError where there are no records."""
    if not results.is_dir():
        raise RequestError(f"{results}: no such results folder; `python -m bench run` makes one")
    found, damaged = read_comparisons(results)
    if not found:
        why = f": {damaged[0]}" if damaged else "; `python -m bench run` makes some"
        raise RequestError(f"{results}: no records of trials{why}")
    return found, damaged


def named(comparisons: Sequence[Comparison], protocol: str | None, results: Path) -> list[Comparison]:
    """Those of that name or folder; all of them without a name. RequestError where there is none."""
    if protocol is None:
        return list(comparisons)
    found = [one for one in comparisons if protocol in (one.name, one.folder.name)]
    if not found:
        names = [one.name for one in comparisons]
        raise unknown("protocol", protocol, names, f"ls {results}")
    return found


def only_one(comparisons: Sequence[Comparison], results: Path) -> Comparison:
    """The one comparison; RequestError where there are several."""
    if len(comparisons) > 1:
        names = ", ".join(one.name for one in comparisons)
        raise RequestError(f"{results} has several comparisons: choose one with --protocol: {names}")
    return comparisons[0]


def other_settings(a: Record, b: Record) -> list[str]:
    """What keeps two trials from being compared: `train.epochs 8 / 10`, and the data where they differ."""
    one, other = _settings(a), _settings(b)
    lines = [
        f"{key} {_written(one, key)} / {_written(other, key)}"
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key) and key != "seeds"
    ]
    if a.data.fingerprint != b.data.fingerprint:
        shown = [f"{data.name} ({data.fingerprint[:12]}, {data.test:,} test pictures)" for data in (a.data, b.data)]
        lines.append(f"data {' / '.join(shown)}")
    return lines or ["the protocols' fingerprints alone, as by another version of bench"]


def _settings(record: Record) -> dict[str, Any]:
    return {key: value for key, value in dotted(record.protocol.settings) if value != {}}


def _written(settings: dict[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else "not set"

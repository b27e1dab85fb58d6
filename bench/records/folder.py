"""Reading a results folder: its records, sorted by path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.records.record import Record, read_record


def load_records(folder: str | Path) -> list[Record]:
    """All records below that folder, in the order of their paths; RecordError for a damaged one.

    >>> [record.model.name for record in bench.load_records("results/first")]
    ['vit_tiny']
    """
    return [read_record(file) for file in record_files(Path(folder))]


def record_files(folder: Path) -> Iterator[Path]:
    """The record files below the folder, sorted."""
    yield from sorted(folder.glob("**/seed*/record.json"))

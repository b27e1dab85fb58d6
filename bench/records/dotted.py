"""Nested tables under dotted names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def dotted(table: Mapping[str, Any], whole: Collection[str] = (), prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`train.epochs`, 8 of {"train": {"epochs": 8}}; an empty table, and one that `whole` names, is a value itself."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and name not in whole:
            yield from dotted(value, whole, f"{name}.")
        else:
            yield name, value

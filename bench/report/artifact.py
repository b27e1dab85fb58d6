"""A generated file: what it is made from, and how; written or checked, and made anew only where that changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench.records.comparison import Comparison


@dataclass(frozen=True)
class Artifact:
    """A file of a report.

    `make()` gives its content: a module's function with all the values that the content follows from, which can be
    sent to another process. A comparison stands for its records and predictions; a path says only where a file lies,
    and whoever reads that file gives a digest of it beside the path.
    """

    file: Path
    make: partial[bytes]

    @cached_property
    def inputs(self) -> str:
        """SHA-256 of the values that `make` is given (bench/report/make/manifest.py adds the code that makes it)."""
        values = json.dumps([self.make.args, self.make.keywords], sort_keys=True, default=_plain)
        return hashlib.sha256(values.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Comparison):
        return value.digest
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return None
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if callable(value):
        return value.__qualname__
    raise TypeError(f"what is made from {type(value).__name__} has no digest")

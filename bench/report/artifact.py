"""A generated file: what it is made from, and how; written or checked, and made anew only where that changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """A file of a report.

    `make()` gives its content; it can be sent to another process (a module's function, or functools.partial of
    one with values). `inputs` is a digest of all that the content follows from (bench/report/make/manifest.py adds the
    code that makes it).
    """

    file: Path
    inputs: str
    make: Callable[[], bytes]

"""One run at a time in a results folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import RequestError


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Hold the results folder, so that two runs do not write the same records; RequestError where another one does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RequestError(f"{folder}: another run is working there; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        lock.release()

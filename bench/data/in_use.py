"""Decoded pictures that a run is using are kept from whoever would clear them.

Locks of the operating system on their description, shared by those who read: they end with the process that holds them,
and need no right to write. Where a file system has none, or the system is none of POSIX, nobody is kept from anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

DESCRIPTION = "stored.json"  # beside the pictures


@contextmanager
def in_use(folder: str | Path) -> Iterator[None]:
    """While it lasts, `sole_use` of the folder is refused. One that is gone needs no keeping."""
    with _locked(folder, shared=True):
        yield


@contextmanager
def sole_use(folder: str | Path) -> Iterator[bool]:
    """Whether nobody else uses the folder, and nobody begins to while it lasts."""
    with _locked(folder, shared=False) as free:
        yield free


@contextmanager
def _locked(folder: str | Path, *, shared: bool) -> Iterator[bool]:
    if os.name != "posix":
        yield True
        return
    try:
        file = (Path(folder) / DESCRIPTION).open("rb")
    except OSError:
        yield True
        return
    with file:
        yield _could_lock(file, shared=shared)


def _could_lock(file: BinaryIO, *, shared: bool) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True

"""One process at a time in a folder: a trial's, or that of a comparison's timing sessions.

The lock is a file that its holder keeps fresh, not a lock of the operating system: it holds on network file systems,
too. One whose holder has died on this machine is taken over at once, one from another machine after TAKEN_OVER.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import LeaseCompromise, SoftFileLease, Timeout

from bench.errors import BusyError, RequestError
from bench.files import unwritten

NAME = ".lock"
TAKEN_OVER = 30.0  # seconds without a sign of life
TAKEN = 3  # the exit status of a process that was taken over from; nobody asks for it


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made where it is missing; BusyError where another process does.

    A process that was stopped for so long that another has taken over ends, since it may write nothing more.
    """
    lock, file = _lock(folder), folder / NAME
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise RequestError(f"{file} is in the way, and no lock of bench: remove it")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{folder}: another run is at work there; wait for it, or choose another folder") from None
    except OSError as error:
        raise unwritten(file, error) from None
    try:
        yield
    finally:
        lock.release()


def is_free(folder: Path) -> bool:
    """Whether nobody holds the folder now."""
    if not os.path.lexists(folder / NAME):
        return True
    try:
        with sole_user(folder):
            return True
    except BusyError:
        return False


def _lock(folder: Path) -> SoftFileLease:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(folder, error) from None
    return SoftFileLease(folder / NAME, lease_duration=TAKEN_OVER, on_compromise=_lost)


def _lost(how: LeaseCompromise) -> None:
    """End the process where another one holds the folder now; not where the disk fails, which a write will say."""
    gone = how.reason == "marker-missing" and not Path(how.lock_file).parent.exists()
    if gone or how.reason == "refresh-failed":
        return
    print("another run has taken over what this process was at: it ends", file=sys.stderr, flush=True)
    os._exit(TAKEN)

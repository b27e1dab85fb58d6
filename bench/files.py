"""What lies on disk: written whole or not at all, and named so that no two names become one."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import platformdirs

from bench.errors import RequestError, StorageError


def write_text(file: Path, text: str) -> None:
    """Write the file whole or not at all: a crash or a full disk leaves the old one."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """As `write_text`, for bytes. Raises StorageError where it cannot be written."""
    with replacing(file) as stream:
        stream.write(content)


class Writes:
    """How many files this process is writing: one that has to end at once may wait for them.

    `durable`: whether what is written has to outlast a crash of the machine.
    """

    def __init__(self) -> None:
        self.durable = True
        self._count, self._changed = 0, threading.Condition()

    def begin(self) -> None:
        """One more is being written."""
        with self._changed:
            self._count += 1

    def end(self) -> None:
        """One of them is written, or cannot be."""
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Until none is being written, but no longer than that; whether none is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, seconds)


WRITES = Writes()


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """What is written to the stream takes the file's place when all is on the disk; StorageError where it cannot be."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    WRITES.begin()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as stream:
                yield stream
                stream.flush()
                if WRITES.durable:
                    os.fsync(stream.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise unwritten(file, error) from None
    finally:
        WRITES.end()


def unwritten(file: Path, error: OSError) -> StorageError:
    """What a user is told of a file that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    todo = f"make room on the disk of {file.parent}" if full else "mend that"
    what = error.strerror or str(error)
    return StorageError(f"{file} cannot be written: {what}; {todo}, and run the same command again: all else is kept")


def read_regular(file: Path) -> bytes:
    """The file's content; OSError for what is no regular file, such as a pipe, which would never end."""
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    return file.read_bytes()


def checksum(file: Path) -> str | None:
    """SHA-256 of the file; None where there is none that can be read."""
    try:
        return hashlib.sha256(read_regular(file)).hexdigest()
    except OSError:
        return None


def amount(size: int) -> str:
    """Bytes as a person says them: 30.1 GB."""
    for unit, worth in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= worth:
            return f"{size / worth:.1f} {unit}"
    return f"{size} bytes"


def clear_partials(folder: Path) -> None:
    """Remove what killed processes were writing into the folder; for whoever holds it alone."""
    for partial in folder.glob(".*.[0-9]*"):
        partial.unlink(missing_ok=True)


def trial_folder(results: Path, model: str, seed: int) -> Path:
    """Where a trial's files go: results/<model>/seed<N>."""
    return results / file_name(model) / f"seed{seed}"


def file_name(model: str) -> str:
    """The model's name made fit for a file system: `/` is `+`, `:` is `@`, `+` is `~`, and no two names become one."""
    return quote(model, safe="/:=,[]+").replace("~", "%7E").replace("+", "~").replace("/", "+").replace(":", "@")


def check_writable(results: Path) -> None:
    """Raise RequestError where results cannot be written there."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RequestError(f"results folder {results} cannot be written: {error.strerror}") from None


def cache_folder() -> Path:
    """Where downloads and decoded pictures are kept: `$BENCH_CACHE`, else the system's place for caches."""
    named = os.environ.get("BENCH_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("bench", appauthor=False)


PACKAGE = Path(__file__).resolve().parent
# What pip calls it; the import and the command are `bench`.
DISTRIBUTION = "bench-image-models"


def bundled(what: str) -> Path:
    """The folder of the bundled `plugins` or `protocols`."""
    inside = PACKAGE / "_bundled" / what
    return inside if inside.is_dir() else PACKAGE.parent / what

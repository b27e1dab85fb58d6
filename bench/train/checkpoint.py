"""The file that a trial goes on from: whole, on the disk, with a digest of its content; written beside the training.

torch writes a zip archive and does not check it when reading: a flipped byte would be a flipped weight.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import torch

from bench.device import out_of_memory
from bench.files import WRITES, replacing

DIGEST = 32  # bytes of SHA-256, at the end of the file
# Where one takes no more seconds than this, there is one after each epoch; else one in so many seconds.
CHEAP, EVERY = 2.0, 60.0


class DamagedError(Exception):
    """What is there is no checkpoint that a training can go on from."""


class _Digesting:
    """A stream that computes the digest of what goes through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.digest = stream, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        self.digest.update(content)
        try:
            self.stream.write(content)
        except OSError as error:  # torch would make another of it
            self.error = error
            raise
        return memoryview(content).nbytes

    def flush(self) -> None:
        """torch asks for it; the file is flushed when it is whole."""


def write_checkpoint(file: Path, content: dict[str, Any]) -> None:
    """Write it whole or not at all; StorageError where it cannot be written."""
    with replacing(file) as stream:
        digesting = _Digesting(stream)
        try:
            torch.save(content, digesting)  # type: ignore[arg-type]
        except RuntimeError:
            if digesting.error is None:
                raise
            raise digesting.error from None
        stream.write(digesting.digest.digest())


def read_checkpoint(file: Path) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote there, in main memory: an accelerator may be fuller than when it was written.

    None where nothing is. DamagedError for what is none; no code of it is run. Where memory runs out, that is raised:
    it is no damage.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedError(error.strerror) from None
    content, digest = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise DamagedError("its content is not what was written")
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # what is not torch's is read with any error
        if out_of_memory(error):
            raise
        raise DamagedError(f"{type(error).__name__}: {error}".partition("\n")[0]) from None
    if not isinstance(saved, dict):
        raise DamagedError("it holds no state of a training")
    return saved


class Writer:
    """Writes a training's checkpoints in a thread of its own, from copies in main memory, one at a time.

    Within its context; what could not be written is raised (StorageError) by the next `write`, or at the end.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None
        self._began, self._ended = -math.inf, -math.inf

    @property
    def is_due(self) -> bool:
        """Whether to write one now."""
        now = self._clock()
        took = (now if self._is_writing else self._ended) - self._began if self._written else 0.0
        return took <= CHEAP or now - self._began >= EVERY

    def write(self, content: dict[str, Any]) -> None:
        """Copy the content now, and let it be written."""
        self.wait()
        self._began = self._clock()
        copy = in_main_memory(content, {})
        WRITES.begin()  # from here on, so that an epoch which is told of is not lost
        self._written = self._thread.submit(self._write, copy)

    def _write(self, content: dict[str, Any]) -> None:
        try:
            write_checkpoint(self._file, content)
        finally:
            self._ended = self._clock()
            WRITES.end()

    @property
    def _is_writing(self) -> bool:
        return self._written is not None and not self._written.done()

    def wait(self) -> None:
        """Until what was given last is on the disk; StorageError where it could not be written."""
        if self._written is not None:
            self._written.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._thread.shutdown()
        if kind is None:
            self.wait()


def in_main_memory(value: Any, copies: dict[int, torch.Tensor]) -> Any:
    """A copy of the state in main memory, of each tensor once; `copies` are those already made, by what they are of."""
    if isinstance(value, torch.Tensor):
        if id(value) not in copies:
            copies[id(value)] = value.detach().to("cpu", copy=True)
        return copies[id(value)]
    if isinstance(value, dict):
        return {key: in_main_memory(item, copies) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_main_memory(item, copies) for item in value)
    return value


def set_aside(file: Path) -> Path:
    """Give the file, or the folder in its place, another name, for whoever wants to look at it."""
    aside = file.with_name(f"damaged-{file.name}")
    if aside.is_file():
        aside.unlink()
    return file.replace(aside)

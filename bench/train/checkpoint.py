"""The file that a trial goes on from: whole, on the disk, and with a digest of its content.

torch writes a zip archive and does not check it when reading: a flipped byte would be a flipped weight.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, BinaryIO

import torch

from bench.device import Device
from bench.files import replacing

DIGEST = 32  # bytes of SHA-256, at the end of the file


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


def read_checkpoint(file: Path, device: Device) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote there; None where nothing is. DamagedError for all else; no code of it is run."""
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
        saved = torch.load(io.BytesIO(content), map_location=device.torch_device, weights_only=True)
    except Exception as error:  # what is not torch's is read with any error
        raise DamagedError(f"{type(error).__name__}: {error}".partition("\n")[0]) from None
    if not isinstance(saved, dict):
        raise DamagedError("it holds no state of a training")
    return saved


def set_aside(file: Path) -> Path:
    """Give the file, or the folder in its place, another name, for whoever wants to look at it."""
    aside = file.with_name(f"damaged-{file.name}")
    if aside.is_file():
        aside.unlink()
    return file.replace(aside)

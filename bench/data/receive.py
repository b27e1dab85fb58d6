"""Decoded pictures, and files of weights, from another machine: into this one's cache, once, by their digest."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from bench.data.cache import FOLDER, Stored, is_complete, sole_decoder
from bench.data.decode import HALF
from bench.data.in_use import DESCRIPTION
from bench.errors import RequestError
from bench.events import Event, Note
from bench.files import amount, cache_folder, checksum

# Reads so many bytes of the other machine's file from that offset on; fewer at its end.
Read = Callable[[Path, int, int], bytes]
# Bytes that are asked for at once.
PIECE = 16_000_000


def received(stored: Stored, read: Read) -> Generator[Event, None, Stored]:
    """The same pictures on this machine: found in its cache, or fetched into it.

    RequestError where the cache has no room for them.
    """
    cache = cache_folder()
    (cache / FOLDER).mkdir(parents=True, exist_ok=True)
    here = replace(stored, folder=str(cache / FOLDER / Path(stored.folder).name))
    with sole_decoder(cache):  # several trials that begin here together fetch them once
        if is_complete(here.folder, here.counts):
            return here
        yield Note(f"{stored.name}: its {sum(stored.counts.values()):,} decoded pictures are fetched to {cache}")
        folder = Path(tempfile.mkdtemp(prefix=HALF, dir=cache / FOLDER))
        try:
            content = hashlib.sha256(json.dumps(list(stored.classes)).encode())
            for part in stored.counts:
                for kind in ("images", "labels"):
                    name = f"{part}_{kind}.npy"
                    _fetched(Path(stored.folder) / name, folder / name, read)
                    for piece in _array_bytes(folder / name):
                        content.update(piece)
            if content.hexdigest() != stored.fingerprint:
                raise RequestError(f"the pictures of {stored.name} did not arrive as they were sent; run again")
            (folder / DESCRIPTION).write_text(json.dumps(asdict(here)))
            shutil.rmtree(here.folder, ignore_errors=True)  # something removed a part of it
            folder.replace(here.folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return here


def received_file(file: Path, sha256: str, into: Path, read: Read) -> Generator[Event, None, Path]:
    """The file of that digest on this machine: at the same path, in the folder under its digest, or fetched there."""
    for there in (file, into / sha256 / file.name):
        if checksum(there) == sha256:
            return there
    yield Note(f"{file.name} is fetched to {there}")
    there.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=into) as folder:
        half = Path(folder) / file.name
        _fetched(file, half, read)
        if checksum(half) != sha256:
            raise RequestError(f"{file} did not arrive as it was sent; run again")
        half.replace(there)
    return there


def _fetched(source: Path, target: Path, read: Read) -> None:
    offset = 0
    with target.open("wb") as stream:
        while piece := read(source, offset, PIECE):
            if len(piece) > (free := shutil.disk_usage(target.parent).free):
                raise RequestError(
                    f"cache folder {target.parent}: no room for {source.name}, {amount(free)} free; set BENCH_CACHE"
                )
            stream.write(piece)
            offset += len(piece)


def _array_bytes(file: Path) -> Iterator[memoryview]:
    """What an array's file holds, its head aside."""
    content = np.load(file, mmap_mode="r").reshape(-1).view(np.uint8)
    yield from (content[start : start + PIECE].data for start in range(0, len(content), PIECE))

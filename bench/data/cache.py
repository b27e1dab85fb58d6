"""A dataset's pictures, decoded once, and which of them are trained on, validated on and tested on.

Decoded pictures are uint8 arrays in the cache, named by a fingerprint of their content; later starts
map them into memory. bench/data/batches.py makes batches of them.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from bench.data.decode import HALF, PROGRESS, decode, room_of
from bench.data.in_use import DESCRIPTION
from bench.data.rows import FileRows
from bench.errors import RequestError
from bench.events import DataProgress, Note, Tell, tell_nobody
from bench.files import amount, cache_folder, write_text
from bench.hookspecs import DatasetSpec, Pictures

FOLDER = "pictures"  # the folder in the cache
TOLD = 0.2  # seconds between events of progress


@dataclass(frozen=True)
class Stored:
    """Decoded pictures in the cache: `folder` holds NAME_images.npy (N, H, W, 3; uint8) and NAME_labels.npy
    for train, test and, where the dataset has one, val."""

    folder: str
    name: str
    fingerprint: str
    classes: tuple[str, ...]
    counts: dict[str, int]

    def images(self, part: str) -> np.ndarray:
        """The pictures of train, val or test, mapped into memory: (N, H, W, 3) of uint8."""
        return self._read(f"{part}_images.npy", mmap_mode="r")

    def rows(self, part: str, indices: np.ndarray) -> FileRows:
        """Some of them, to be read from the disk when they are wanted."""
        return FileRows.of(Path(self.folder) / f"{part}_images.npy", indices)

    def labels(self, part: str) -> np.ndarray:
        """Their classes: (N,) of int64."""
        return self._read(f"{part}_labels.npy")

    def _read(self, name: str, **how: Any) -> np.ndarray:
        try:
            return np.asarray(np.load(Path(self.folder) / name, **how))
        except FileNotFoundError:
            raise RequestError(f"the decoded pictures in {self.folder} are gone; run again to decode them") from None


def prepare(
    spec: DatasetSpec, location: str, image_size: int, tell: Tell = tell_nobody, resize: str = "crop"
) -> Stored:
    """Decode the dataset's pictures, or find them decoded. Raises RequestError where they cannot be had.

    `tell` is told what room they take before they are decoded, and of how many are. `resize` is the protocol's. Their
    name is the location's as it was given, whatever that links to and whoever decoded them.
    """
    return replace(_found(spec, location, image_size, tell, resize), name=_name(spec, location))


def _name(spec: DatasetSpec, location: str) -> str:
    given = Path(location)
    called = given.name if given.name.strip(".") else given.resolve().name  # `.` and `..` are no names
    return f"{spec.name}:{called}" if location else spec.name


def _found(spec: DatasetSpec, location: str, image_size: int, tell: Tell, resize: str) -> Stored:
    asked = {"resize": resize}
    cache = cache_folder()
    try:
        (cache / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cache folder {cache}: {error.strerror}; set BENCH_CACHE to one you may write") from None
    key = None
    if spec.key is not None:
        content = spec.key(location, image_size, **taken(spec.key, asked))
        key = hashlib.sha256(f"{spec.name}\n{content}".encode()).hexdigest()[:32]
        if (stored := _known(cache, key)) is not None:
            return stored
    with sole_decoder(cache):  # two runs that start together decode once
        for left in (cache / FOLDER).glob(f"{HALF}*"):
            if not (left / PROGRESS).exists():  # of a run that was killed before it could say how far it was
                shutil.rmtree(left, ignore_errors=True)
        if key is not None and (stored := _known(cache, key)) is not None:
            return stored
        load = partial(spec.load, location=location, image_size=image_size, cache=cache, **taken(spec.load, asked))
        stored = _decoded(spec, location, load, cache, key, tell)
        if key is not None:
            write_text(_file(cache, key), json.dumps(asdict(stored)))
    return stored


def taken(function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """What of it the function has parameters for."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in offered.items() if name in known}


def _decoded(
    spec: DatasetSpec, location: str, load: Callable[[], Pictures], cache: Path, key: str | None, tell: Tell
) -> Stored:
    pictures = load()
    called = f"{spec.name}:{location}" if location else spec.name
    room = room_of(spec.name, pictures)
    free = shutil.disk_usage(cache / FOLDER).free
    tell(
        Note(
            f"{called}: {room.pictures:,} pictures are decoded once, into {amount(room.bytes)} of {cache} "
            f"({amount(free)} free)"
        )
    )
    told = time.monotonic()

    def progress(done: int) -> None:
        nonlocal told
        if done == room.pictures or time.monotonic() - told > TOLD:
            told = time.monotonic()
            tell(DataProgress(called, done, room.pictures))

    folder, fingerprint = decode(spec.name, pictures, room, cache / FOLDER, key, progress)
    counts = {part: shape[0] for part, shape in room.shapes.items()}
    final = cache / FOLDER / fingerprint[:32]
    stored = Stored(str(final), _name(spec, location), fingerprint, tuple(pictures.classes), counts)
    if is_complete(final, counts):
        shutil.rmtree(folder)
    else:
        write_text(folder / DESCRIPTION, json.dumps(asdict(stored)))
        shutil.rmtree(final, ignore_errors=True)  # something removed a part of it
        folder.replace(final)
    return stored


@contextmanager
def sole_decoder(cache: Path) -> Iterator[None]:
    """Hold the cache while pictures are decoded. RequestError where it cannot be written."""
    lock = FileLock(cache / FOLDER / ".lock")
    try:
        lock.acquire()
    except OSError as error:
        raise RequestError(f"cache folder {cache}: {error.strerror}; set BENCH_CACHE to one you may write") from None
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise RequestError(f"cache folder {cache}: {error.strerror}; set BENCH_CACHE to another one") from None
    finally:
        lock.release()


def _file(cache: Path, key: str) -> Path:
    return cache / FOLDER / f"{key}.json"


def _known(cache: Path, key: str) -> Stored | None:
    """What was decoded of that key; None where nothing was, where that cannot be read, or was since removed."""
    stored = read_stored(_file(cache, key))
    return stored if stored is not None and is_complete(stored.folder, stored.counts) else None


def read_stored(file: Path) -> Stored | None:
    """What that file describes; None where there is none, or it is damaged."""
    try:
        fields = json.loads(file.read_text())
        return Stored(**fields | {"classes": tuple(fields["classes"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_complete(folder: str | Path, parts: Iterable[str]) -> bool:
    """Whether every file of those parts is there."""
    return all((Path(folder) / f"{part}_{kind}.npy").exists() for part in parts for kind in ("images", "labels"))

"""A dataset's pictures, decoded once, and which of them are trained on, validated on and tested on.

Decoded pictures are uint8 arrays in the cache, named by a fingerprint of their content; later starts
map them into memory. bench/data/batches.py makes batches of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from bench.errors import RequestError
from bench.files import cache_folder, write_text
from bench.hookspecs import DatasetSpec, Split


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

    def labels(self, part: str) -> np.ndarray:
        """Their classes: (N,) of int64."""
        return self._read(f"{part}_labels.npy")

    def _read(self, name: str, **how: Any) -> np.ndarray:
        try:
            return np.asarray(np.load(Path(self.folder) / name, **how))
        except FileNotFoundError:
            raise RequestError(f"the decoded pictures in {self.folder} are gone; run again to decode them") from None


def prepare(
    spec: DatasetSpec, location: str, image_size: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> Stored:
    """Decode the dataset's pictures, or find them decoded. Raises RequestError where they cannot be had."""
    cache = cache_folder()
    try:
        (cache / "pictures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cache folder {cache}: {error.strerror}; set BENCH_CACHE to one you may write") from None
    known = None
    if spec.key is not None:
        digest = hashlib.sha256(f"{spec.name}\n{spec.key(location, image_size)}".encode()).hexdigest()
        known = cache / "pictures" / f"{digest[:32]}.json"
        if known.exists() and (stored := _read_stored(known)) is not None:
            return stored
    with _sole_decoder(cache):  # two runs that start together decode once
        for left in (cache / "pictures").glob("decoding-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        if known is not None and known.exists() and (stored := _read_stored(known)) is not None:
            return stored
        stored = _decode(spec, location, image_size, cache, progress)
        if known is not None:
            write_text(known, json.dumps(asdict(stored)))
    return stored


@contextmanager
def _sole_decoder(cache: Path) -> Iterator[None]:
    """Hold the cache while pictures are decoded. RequestError where it cannot be written."""
    lock = FileLock(cache / "pictures" / ".lock")
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


def _read_stored(file: Path) -> Stored | None:
    """What that file describes; None where it is damaged, or where the pictures were since removed."""
    try:
        fields = json.loads(file.read_text())
        stored = Stored(**fields | {"classes": tuple(fields["classes"])})
    except (ValueError, TypeError, KeyError):
        return None
    return stored if _complete(Path(stored.folder), stored.counts) else None


def _complete(folder: Path, parts: Iterable[str]) -> bool:
    """Whether every file of those parts is there."""
    return all((folder / f"{part}_{kind}.npy").exists() for part in parts for kind in ("images", "labels"))


def _decode(
    spec: DatasetSpec, location: str, image_size: int, cache: Path, progress: Callable[[int, int], None]
) -> Stored:
    pictures = spec.load(location=location, image_size=image_size, cache=cache)
    parts = {"train": pictures.train, "val": pictures.val, "test": pictures.test}
    splits = {name: split for name, split in parts.items() if split is not None}
    _check(spec.name, pictures.classes, splits)
    total = sum(len(split.labels) for split in splits.values())
    content = hashlib.sha256(json.dumps(list(pictures.classes)).encode())
    temporary = Path(tempfile.mkdtemp(prefix="decoding-", dir=cache / "pictures"))
    try:
        done = 0
        for name, split in splits.items():
            for count, picture in _store(spec.name, temporary, name, split):
                content.update(picture)
                if count % 256 == 0:
                    progress(done + count, total)
            done += len(split.labels)
            progress(done, total)
            labels = np.asarray(split.labels, dtype=np.int64)
            np.save(temporary / f"{name}_labels.npy", labels)
            content.update(labels.tobytes())
        final = cache / "pictures" / content.hexdigest()[:32]
        if _complete(final, splits):
            shutil.rmtree(temporary)
        else:
            shutil.rmtree(final, ignore_errors=True)  # something removed a part of it
            temporary.replace(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    name = f"{spec.name}:{Path(location).resolve().name}" if location else spec.name
    counts = {part: len(split.labels) for part, split in splits.items()}
    return Stored(str(final), name, content.hexdigest(), tuple(pictures.classes), counts)


def _check(name: str, names: Sequence[str], splits: dict[str, Split]) -> None:
    classes = len(names)
    if classes < 2:
        raise RequestError(f"dataset {name}: has {classes} class; a classifier needs at least 2")
    if not all(isinstance(one, str) for one in names) or len(set(names)) < classes:
        raise RequestError(f"dataset {name}: its classes must be different texts, not {list(names)[:5]}")
    for part, split in splits.items():
        labels = np.asarray(split.labels)
        if len(labels) == 0 or len(labels) != len(split.pictures):
            raise RequestError(f"dataset {name}: {part} has {len(split.pictures)} pictures and {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= classes:
            raise RequestError(f"dataset {name}: {part} has labels outside 0..{classes - 1}")


def _store(dataset: str, folder: Path, name: str, split: Split) -> Iterator[tuple[int, bytes]]:
    """Write the split's pictures as one array, decoding on all cores; gives (how many so far, the picture's bytes)."""
    shape = np.asarray(split.pictures[0]).shape
    if len(shape) != 3 or shape[2] != 3:
        raise RequestError(f"dataset {dataset}: pictures must be arrays (H, W, 3) of uint8; {name}'s are {shape}")
    needed = len(split.labels) * int(np.prod(shape))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise RequestError(f"cache folder {folder.parent}: {needed:,} bytes needed, {free:,} free; set BENCH_CACHE")
    array = np.lib.format.open_memmap(
        folder / f"{name}_images.npy", mode="w+", dtype=np.uint8, shape=(len(split.labels), *shape)
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        window = 1024  # pictures in flight: enough to keep every core busy, little enough for any memory
        for start in range(0, len(split.labels), window):
            indices = range(start, min(start + window, len(split.labels)))
            for index, picture in zip(indices, pool.map(split.pictures.__getitem__, indices), strict=True):
                if picture.shape != shape or picture.dtype != np.uint8:
                    found = f"{picture.shape} of {picture.dtype}"
                    raise RequestError(f"dataset {dataset}: picture {index} of {name} is {found}, not {shape} of uint8")
                array[index] = picture
                yield index + 1, np.ascontiguousarray(picture).tobytes()
    array.flush()

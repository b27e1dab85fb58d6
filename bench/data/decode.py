"""Decoding a dataset's pictures into arrays of the cache: on all cores, in little memory, going on where it was cut.

What is decoded lies in `decoding-…` until it is whole. Where the dataset names its content (a key), a file beside it
says how far it has come, and the next run goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.rows import FileRows, read_ahead
from bench.errors import RequestError
from bench.files import write_text
from bench.hookspecs import Pictures, Split

HALF = "decoding-"
PROGRESS = "progress.json"
# Seconds between notes of how far it has come; pictures in flight for each core.
NOTED, IN_FLIGHT = 5.0, 32

Told = Callable[[int], None]


@dataclass(frozen=True)
class Room:
    """The pictures of each part as they will be stored: how many, of which shape (H, W, 3)."""

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def pictures(self) -> int:
        """How many there are."""
        return sum(shape[0] for shape in self.shapes.values())

    @property
    def bytes(self) -> int:
        """What they take."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes.values())


def room_of(name: str, pictures: Pictures) -> Room:
    """What the dataset's pictures will take. Raises RequestError where they are not as the contract says."""
    splits = parts_of(pictures)
    _check(name, pictures.classes, splits)
    shapes = {}
    for part, split in splits.items():
        shape = np.asarray(split.pictures[0]).shape
        if len(shape) != 3 or shape[2] != 3:
            raise RequestError(f"dataset {name}: pictures must be arrays (H, W, 3) of uint8; {part}'s are {shape}")
        shapes[part] = (len(split.labels), *shape)
    return Room(shapes)


def parts_of(pictures: Pictures) -> dict[str, Split]:
    """Train, test and, where the dataset has one, val."""
    parts = {"train": pictures.train, "val": pictures.val, "test": pictures.test}
    return {part: split for part, split in parts.items() if split is not None}


def decode(name: str, pictures: Pictures, room: Room, into: Path, key: str | None, told: Told) -> tuple[Path, str]:
    """Decode into a folder beside others in `into`; gives it, and the SHA-256 of classes, pictures and labels.

    `key` names the content, so that a later call goes on where this one is cut; `told` is told how many are done.
    RequestError where the disk has no room, or a picture is not as it should be.
    """
    folder = Path(tempfile.mkdtemp(prefix=HALF, dir=into)) if key is None else into / f"{HALF}{key}"
    try:
        done = _progress(folder, room)
        folder.mkdir(exist_ok=True)
        left = room.bytes - sum(count * _size(room, part) for part, count in done.items())
        if left > (free := shutil.disk_usage(folder).free):
            raise RequestError(f"cache folder {into}: {left:,} bytes needed, {free:,} free; set BENCH_CACHE")
        content = hashlib.sha256(json.dumps(list(pictures.classes)).encode())
        before = 0
        for part, split in parts_of(pictures).items():
            for picture, count in _stored(name, folder, part, split, room, done):
                content.update(picture)
                told(before + count)
            before += len(split.labels)
            labels = np.asarray(split.labels, dtype=np.int64)
            np.save(folder / f"{part}_labels.npy", labels)
            content.update(labels.tobytes())
    except BrokenPipeError:  # whoever asked for it is gone: it is cut
        raise
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / PROGRESS).unlink(missing_ok=True)
    return folder, content.hexdigest()


def _size(room: Room, part: str) -> int:
    return int(np.prod(room.shapes[part][1:], dtype=np.int64))


def _progress(folder: Path, room: Room) -> dict[str, int]:
    """How many pictures of each part a run that was cut has decoded; a folder that does not say so is removed."""
    try:
        said = json.loads((folder / PROGRESS).read_text())
        if said["shapes"] == {part: list(shape) for part, shape in room.shapes.items()}:
            return {part: int(said["done"].get(part, 0)) for part in room.shapes}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return dict.fromkeys(room.shapes, 0)


def _stored(
    dataset: str, folder: Path, part: str, split: Split, room: Room, done: dict[str, int]
) -> Iterator[tuple[bytes | memoryview, int]]:
    """Write the part's pictures as one array; gives each one's bytes, with how many there are so far."""
    shape, size, file = room.shapes[part], _size(room, part), folder / f"{part}_images.npy"
    begun = done[part]
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with file.open("r+b" if begun else "w+b") as stream:
        np.lib.format.write_array_header_1_0(stream, head)
        stream.flush()
        before = FileRows.of(file, np.arange(begun))
        for start in range(0, begun, IN_FLIGHT):
            read = before.read(slice(start, start + IN_FLIGHT))
            yield read.reshape(-1).data, start + len(read)
        stream.seek(begun * size, os.SEEK_CUR)
        stream.truncate()
        noted = time.monotonic()
        cores = os.cpu_count() or 1
        decoded = read_ahead(split.pictures.__getitem__, range(begun, shape[0]), cores * IN_FLIGHT, cores)
        for number, picture in enumerate(decoded, start=begun):
            if picture.shape != shape[1:] or picture.dtype != np.uint8:
                found = f"{picture.shape} of {picture.dtype}"
                raise RequestError(
                    f"dataset {dataset}: picture {number} of {part} is {found}, not {shape[1:]} of uint8"
                )
            content = np.ascontiguousarray(picture).tobytes()
            stream.write(content)
            yield content, number + 1
            if time.monotonic() - noted > NOTED:
                noted = time.monotonic()
                stream.flush()
                os.fsync(stream.fileno())
                done[part] = number + 1
                _note(folder, room, done)
    done[part] = shape[0]
    _note(folder, room, done)


def _note(folder: Path, room: Room, done: Mapping[str, int]) -> None:
    write_text(folder / PROGRESS, json.dumps({"shapes": dict(room.shapes), "done": dict(done)}))


def _check(name: str, names: Sequence[str], splits: Mapping[str, Split]) -> None:
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

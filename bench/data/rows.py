"""Pictures in the cache's files, of which rows are read when they are wanted: any number, in little memory.

Read, not mapped: pages of a mapped file count as the process's memory for as long as the system has room for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.errors import RequestError

Chosen = TypeVar("Chosen")
Read = TypeVar("Read")

# Batches that are read before they are asked for: two would do, were all batches read in the same time.
AHEAD = 4


@dataclass(frozen=True)
class FileRows:
    """Those rows, in this order, of an array of pictures (N, H, W, 3; uint8) in a file of numpy's."""

    file: Path
    offset: int  # of the first picture, in bytes
    picture: tuple[int, ...]  # its shape (H, W, 3)
    rows: np.ndarray

    @staticmethod
    def of(file: Path, rows: np.ndarray) -> FileRows:
        """Rows of that file, whose head alone is read."""
        with _opened(file) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, _ = read(stream)
            return FileRows(file, stream.tell(), shape[1:], rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, 3)."""
        return (len(self.rows), *self.picture)

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The pictures at those places of the rows: (B, H, W, 3; uint8). RequestError where the file is gone."""
        rows = self.rows[chosen]
        taken = np.empty((len(rows), *self.picture), dtype=np.uint8)
        whole, size = taken.reshape(-1).data, int(np.prod(self.picture))
        with _opened(self.file) as stream:
            # What lies side by side is read at once.
            for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
                if not len(run):
                    continue
                stream.seek(self.offset + int(rows[run[0]]) * size)
                left = whole[run[0] * size : (run[-1] + 1) * size]
                while left:  # a system reads 2 GB at once at most
                    count = stream.readinto(left)
                    if not count:
                        raise RequestError(f"{self.file} ends too early: remove its folder, and run again")
                    left = left[count:]
        return taken


def read_ahead(
    read: Callable[[Chosen], Read], wanted: Iterable[Chosen], ahead: int = AHEAD, threads: int = 1
) -> Iterator[Read]:
    """What `read` gives of each that is wanted, in their order, by threads that are so many of them ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        under_way: deque[Future[Read]] = deque()
        try:
            for one in wanted:
                under_way.append(pool.submit(read, one))
                if len(under_way) > ahead:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:  # nobody may want the rest
            for left in under_way:
                left.cancel()


def _opened(file: Path) -> FileIO:
    try:
        return file.open("rb", buffering=0)
    except FileNotFoundError:
        raise RequestError(f"the decoded pictures in {file.parent} are gone; run again to decode them") from None

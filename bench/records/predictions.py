"""predictions.npz beside a record: what the model said of each test picture, and its reading, the same for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.files import read_regular
from bench.records.archive import UNREADABLE, arrays

if TYPE_CHECKING:
    import numpy as np

NAME = "predictions.npz"

T = TypeVar("T")


@dataclass(frozen=True)
class Predictions:
    """Of each test picture its position in the dataset, its class (N), and the probabilities (N, classes)."""

    index: np.ndarray
    label: np.ndarray
    probabilities: np.ndarray


def parse_predictions(content: bytes) -> Predictions:
    """The file's content. Raises one of UNREADABLE where it is no such file's."""
    import numpy as np

    with arrays(content) as opened:
        found = Predictions(opened["index"], opened["label"], opened["probabilities"])
    pictures = len(found.label)
    whole = all(np.issubdtype(array.dtype, np.integer) for array in (found.index, found.label))
    if not whole or found.probabilities.ndim != 2 or not np.issubdtype(found.probabilities.dtype, np.floating):
        raise ValueError("its arrays are of other kinds")
    if {found.index.shape, found.label.shape} != {(pictures,)} or len(found.probabilities) != pictures:
        raise ValueError("its arrays have different lengths")
    return found


def once_a_file(work: Callable[[Predictions], T]) -> Callable[[Path], T | None]:
    """`work` on the predictions in a trial's folder; None where there are none that can be read.

    It is done once for each file, however often it is asked for: a report has many tables, figures and pages. A file
    that has changed since is another one.
    """

    @lru_cache(maxsize=2048)
    def done(file: Path, changed: int, size: int) -> T:
        return work(parse_predictions(read_regular(file)))

    @wraps(work)
    def of_folder(folder: Path) -> T | None:
        file = folder / NAME
        try:
            stat = file.stat()
            return done(file, stat.st_mtime_ns, stat.st_size)
        except UNREADABLE:
            return None

    return of_folder

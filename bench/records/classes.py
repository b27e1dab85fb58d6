"""What a model's trials say of the classes: the metrics of each, and which is taken for which."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.records.comparison import Contender

if TYPE_CHECKING:
    import numpy as np

METRICS = ("precision", "recall", "f1", "support")


@dataclass(frozen=True)
class ClassRow:
    """A class, and the means over a model's finished trials of its metrics."""

    name: str
    values: tuple[float, ...]  # in the order of METRICS


def class_rows(contender: Contender) -> list[ClassRow]:
    """A row for each class, in the dataset's order; none where a record lacks the metrics of any class."""
    names = contender.first.data.classes
    tables = [trial.record.accuracy.per_class for trial in contender.finished if trial.record.accuracy]
    if not tables or not all(name in table for table in tables for name in names):
        return []
    return [
        ClassRow(name, tuple(math.fsum(table[name][metric] for table in tables) / len(tables) for metric in METRICS))
        for name in names
    ]


def confusion_counts(contender: Contender) -> np.ndarray | None:
    """Pictures of class i that were taken for class j, (classes, classes), summed over the finished trials.

    None where no trial finished, and where a record lacks the confusions.
    """
    import numpy as np

    matrices = [trial.record.accuracy.confusion for trial in contender.finished if trial.record.accuracy]
    size = len(contender.first.data.classes)
    if not matrices or any(len(matrix) != size or any(len(row) != size for row in matrix) for matrix in matrices):
        return None
    counts: np.ndarray = np.array(matrices, dtype=np.int64).sum(axis=0)
    return counts

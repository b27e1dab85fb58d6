"""Which test pictures each trial got right, and what follows for the models of a comparison, pair by pair."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from bench.records.comparison import Comparison, Contender, Trial
from bench.report.judge.statistics import Difference, agreement, holm, paired_difference

# Up to so many models each is compared with each; beyond, with the best alone: pairs grow with the square.
ALL_PAIRS = 50
# Reading predictions is mostly decompression, which lets other threads run.
THREADS = 4


@dataclass(frozen=True)
class Answers:
    """Which pictures each trial got right: `right` is (trials, pictures); `rows` gives a trial's row by its folder."""

    right: np.ndarray
    rows: dict[Path, int]
    unread: tuple[Path, ...]  # folders of the trials without predictions that can be read

    @cached_property
    def both(self) -> np.ndarray:
        """How many pictures each two trials both got right."""
        return agreement(self.right)

    def difference(self, a: Contender, b: Contender) -> Difference | None:
        """The accuracy of A minus that of B over the seeds that both have; None where they share none."""
        rows_a, rows_b = self._by_seed(a), self._by_seed(b)
        shared = sorted(rows_a.keys() & rows_b.keys())
        if not shared or not self.right.shape[1]:
            return None
        return paired_difference(
            self.both, self.right.shape[1], [rows_a[seed] for seed in shared], [rows_b[seed] for seed in shared]
        )

    def _by_seed(self, contender: Contender) -> dict[int, int]:
        return {trial.record.seed: self.rows[trial.folder] for trial in contender.finished if trial.folder in self.rows}


def read_answers(trials: Iterable[Trial]) -> Answers:
    """Read each trial's predictions.npz once; the pictures are those that all of them were tested on."""
    folders = [trial.folder for trial in trials]
    with ThreadPoolExecutor(THREADS) as pool:
        read = list(pool.map(_read, folders))
    good = [(folder, *found) for folder, found in zip(folders, read, strict=True) if found is not None]
    unread = tuple(folder for folder, found in zip(folders, read, strict=True) if found is None)
    if not good:
        return Answers(np.zeros((0, 0), dtype=bool), {}, unread)
    shared = good[0][1]
    if any(not np.array_equal(index, shared) for _, index, _ in good):
        for _, index, _ in good:
            shared = np.intersect1d(shared, index)
        good = [(folder, shared, right[np.isin(index, shared)]) for folder, index, right in good]
    rows = {folder: row for row, (folder, _, _) in enumerate(good)}
    return Answers(np.stack([right for _, _, right in good]), rows, unread)


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The pictures' positions in the dataset, ascending, and whether each was classified rightly."""
    try:
        with np.load(folder / "predictions.npz") as file:
            index, right = file["index"], file["probabilities"].argmax(1) == file["label"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    order = np.argsort(index, kind="stable")
    return index[order], right[order]


@dataclass(frozen=True)
class Pair:
    """Two models of a comparison, by their places in it, and whether they are told apart."""

    a: int
    b: int
    difference: Difference
    p: float  # corrected for all pairs tested (Holm)


def pairs(contenders: Sequence[Contender], answers: Answers) -> list[Pair]:
    """All pairs up to ALL_PAIRS models, else each model with the first; those that share no seed are left out."""
    if len(contenders) <= ALL_PAIRS:
        chosen = list(combinations(range(len(contenders)), 2))
    else:
        chosen = [(0, other) for other in range(1, len(contenders))]
    tested = [
        (a, b, difference)
        for a, b in chosen
        if (difference := answers.difference(contenders[a], contenders[b])) is not None
    ]
    corrected = holm([difference.p for _, _, difference in tested])
    return [Pair(a, b, difference, p) for (a, b, difference), p in zip(tested, corrected, strict=True)]


def answers_of(comparison: Comparison) -> Answers:
    """The answers of all its finished trials."""
    return read_answers(trial for contender in comparison.finished for trial in contender.finished)

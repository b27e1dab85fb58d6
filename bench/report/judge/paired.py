"""Whether two models differ in accuracy on the same test pictures, or only by chance.

Which pictures each trial got right is a matrix of booleans, (trials, pictures). Everything here follows from
`agreement`, the matrix's product with itself, so that all pairs of models together cost one product.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from bench.records.comparison import Contender, Trial

# Up to so many models each is compared with each; beyond, with the best alone: pairs grow with the square.
ALL_PAIRS = 50
# Reading predictions is mostly decompression, which lets other threads run.
THREADS = 4
LEVEL = 0.05  # of the tests; intervals are of 1 - LEVEL


@dataclass(frozen=True)
class Difference:
    """The accuracy of A minus that of B, both in 0..1, on the same pictures."""

    value: float
    low: float
    high: float
    p: float  # two-sided, for no difference
    seeds: int


def agreement(right: np.ndarray) -> np.ndarray:
    """How many pictures each two trials both got right, (trials, trials), from `right`, (trials, pictures)."""
    # In 32 bits, whole numbers below 2^24 are exact; more pictures than that are summed in 64.
    kind = np.float32 if right.shape[1] < 2**24 else np.float64
    numbers = right.astype(kind)
    counts: np.ndarray = np.matmul(numbers, numbers.T)
    return counts.astype(np.float64)


def paired_difference(both: np.ndarray, pictures: int, a: Sequence[int], b: Sequence[int]) -> Difference:
    """Compare model A, trials `a` of the agreement `both`, with model B, trials `b`, seed by seed.

    One seed: McNemar's exact test (McNemar 1947; two-sided binomial over the pictures that one of the two alone
    got right), and Agresti and Min's interval (Statistics in Medicine 2005: half a picture more in each cell).
    It speaks of these two trained models on further pictures, and knows nothing of other seeds.

    Several seeds: every seed is tested on the same pictures, so seeds and pictures are two crossed samples, and both
    are sources of chance. Of the differences by seed and picture, a two-way analysis of variance gives the parts
    of seeds, pictures and the rest; the mean's variance is the sum of the parts, each over its count, and its
    degrees of freedom are Satterthwaite's (1946), as in Clark's min F' (1973). Student's t gives interval and p.
    Simulated, a test at 5 % raised false alarms in 3 to 9 % of cases with two seeds, in 3 to 7 % with five; McNemar's
    with one seed in up to 64 %, where seeds move a model by more than the choice of pictures does.
    """
    one, other = np.asarray(a), np.asarray(b)
    if len(one) != len(other) or not len(one):
        raise ValueError("paired trials: as many of A as of B, and at least one")
    if len(one) == 1:
        return _one_seed(both, pictures, int(one[0]), int(other[0]))
    return _several_seeds(both, pictures, one, other)


def _one_seed(both: np.ndarray, pictures: int, a: int, b: int) -> Difference:
    from scipy.special import bdtr, ndtri

    only_a, only_b = both[a, a] - both[a, b], both[b, b] - both[a, b]
    alone = only_a + only_b
    p = min(1.0, 2 * float(bdtr(min(only_a, only_b), int(alone), 0.5))) if alone else 1.0
    # Agresti and Min: (b + 1/2, c + 1/2) of n + 2.
    centre = (only_a - only_b) / (pictures + 2)
    half = ndtri(1 - LEVEL / 2) * np.sqrt((alone + 1) / (pictures + 2) - centre**2) / np.sqrt(pictures + 2)
    value = float((only_a - only_b) / pictures)
    return Difference(value, float(max(centre - half, -1.0)), float(min(centre + half, 1.0)), p, 1)


def _several_seeds(both: np.ndarray, pictures: int, a: np.ndarray, b: np.ndarray) -> Difference:
    from scipy.special import stdtr, stdtrit

    seeds = len(a)
    by_seed = (both[a, a] - both[b, b]) / pictures
    mean = float(by_seed.mean())
    # Sums of squares of the differences d[seed, picture]: of each picture's sum over seeds, and of all.
    picture_sums = both[np.ix_(a, a)].sum() + both[np.ix_(b, b)].sum() - 2 * both[np.ix_(a, b)].sum()
    all_squares = (both[a, a] + both[b, b] - 2 * both[a, b]).sum()
    of_seeds = pictures * ((by_seed - mean) ** 2).sum()
    of_pictures = picture_sums / seeds - seeds * pictures * mean**2
    of_rest = all_squares - seeds * pictures * mean**2 - of_seeds - of_pictures
    freedom = np.array([seeds - 1, pictures - 1, (seeds - 1) * (pictures - 1)])
    squares = np.maximum(np.array([of_seeds, of_pictures, of_rest]), 0.0) / np.maximum(freedom, 1)
    # seeds + pictures - rest, but no part below nothing
    seed_part, picture_part = max(squares[0] - squares[2], 0.0), max(squares[1] - squares[2], 0.0)
    total = seed_part + picture_part + squares[2]
    if total <= 1e-12:  # the same answers, or a difference that is the same at each picture
        return Difference(mean, mean, mean, float(mean == 0), seeds)
    error = float(np.sqrt(total / (seeds * pictures)))
    weights = np.array([float(seed_part > 0), float(picture_part > 0), 1.0 - (seed_part > 0) - (picture_part > 0)])
    degrees = float(total**2 / ((weights * squares) ** 2 / np.maximum(freedom, 1)).sum())
    half = float(stdtrit(degrees, 1 - LEVEL / 2)) * error
    p = 2 * float(stdtr(degrees, -abs(mean) / error))
    return Difference(mean, max(mean - half, -1.0), min(mean + half, 1.0), min(p, 1.0), seeds)


def holm(p: Sequence[float]) -> list[float]:
    """The p values corrected for their number (Holm 1979): each bounds the chance of any false alarm among them."""
    order = np.argsort(p, kind="stable")
    raised = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0) if len(p) else raised
    return [float(value) for value in corrected]


def groups(count: int, apart: set[tuple[int, int]]) -> list[range]:
    """The longest runs of neighbours, of `count` in order, in which no two are told apart; two or more in each.

    `apart` holds the pairs (i, j), i < j, that are. A run that lies within another is not given.
    """
    found: list[range] = []
    for start in range(count):
        end = start + 1
        while end < count and not any((i, end) in apart for i in range(start, end)):
            end += 1
        if end - start > 1 and (not found or end > found[-1].stop):
            found.append(range(start, end))
    return found


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
    file = folder / "predictions.npz"
    try:
        stat = file.stat()
        return _read_once(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


# A report asks for a trial's predictions for each of its tables, figures and pages; a file that has changed since is
# another one.
@lru_cache(maxsize=2048)
def _read_once(file: Path, changed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(file) as opened:
        index, right = opened["index"], opened["probabilities"].argmax(1) == opened["label"]
    order = np.argsort(index, kind="stable")
    return index[order], right[order]

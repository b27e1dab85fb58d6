"""Whether two models differ in accuracy on the same test pictures, or only by chance.

Which pictures each trial got right is a matrix of booleans, (trials, pictures). Everything here follows from
`agreement`, the matrix's product with itself, so that all pairs of models together cost one product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.records.comparison import Contender, Trial
from bench.records.predictions import Predictions, once_a_file

# Up to so many models each is compared with each; beyond, with the best alone: pairs grow with the square.
ALL_PAIRS = 50
LEVEL = 0.05  # of the tests; intervals are of 1 - LEVEL
SMALLEST = 1e-12  # no p is said to be smaller


@dataclass(frozen=True)
class Difference:
    """The accuracy of A minus that of B, both in 0..1, on the same pictures."""

    value: float
    low: float
    high: float
    p: float  # two-sided, for no difference
    seeds: int
    # What makes `value` uncertain, where several seeds tell the two apart.
    seed_variance: float = 0.0
    picture_variance: float = 0.0


def agreement(right: np.ndarray) -> np.ndarray:
    """How many pictures each two trials both got right, (trials, trials), from `right`, (trials, pictures)."""
    # In 32 bits, whole numbers below 2^24 are exact; more pictures than that are summed in 64.
    kind = np.float32 if right.shape[1] < 2**24 else np.float64
    numbers = right.astype(kind)
    counts: np.ndarray = np.matmul(numbers, numbers.T)
    return counts.astype(np.float64)


@dataclass(frozen=True)
class SeedNoise:
    """The variance of a model's top-1 (0..1) from seed to seed, pooled over models, and its degrees of freedom."""

    variance: float
    freedom: int


def seed_noise(top1: Sequence[Mapping[int, float]]) -> SeedNoise | None:
    """From each model's top-1 by seed; None where no model has two seeds.

    Where the models with several seeds share two or more, what a seed does to all of them alike is no noise of a
    difference: of the models by seeds, it is what is neither the model's nor the seed's own. Else each model's own
    variance counts.
    """
    several = [one for one in top1 if len(one) > 1]
    if not several:
        return None
    shared = sorted(set.intersection(*(set(one) for one in several)))
    if len(several) > 1 and len(shared) > 1:
        table = np.array([[one[seed] for seed in shared] for one in several])
        rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
        freedom = (len(several) - 1) * (len(shared) - 1)
        return SeedNoise(float((rest**2).sum()) / freedom, freedom)
    freedom = sum(len(one) - 1 for one in several)
    squares = sum(float(np.var(list(one.values()))) * len(one) for one in several)
    return SeedNoise(squares / freedom, freedom)


def paired_difference(
    both: np.ndarray, pictures: int, a: Sequence[int], b: Sequence[int], noise: SeedNoise | None = None
) -> Difference:
    """Compare model A, trials `a` of the agreement `both`, with model B, trials `b`, seed by seed.

    Without `noise`, of one seed: McNemar's exact test (McNemar 1947; two-sided binomial over the pictures that one of
    the two alone got right), and Agresti and Min's interval (Statistics in Medicine 2005: half a picture more in each
    cell). It speaks of these two trained models on further pictures, and knows nothing of other seeds.

    With it: every seed is tested on the same pictures, so seeds and pictures are two crossed samples, and both are
    sources of chance. The mean difference varies by what seeds do, which `noise` says of the models of the whole
    comparison (a model that moved more than these counts with its own variance, since models differ in how steady they
    are), and by which pictures were drawn, which a two-way analysis of variance of these two models'
    differences says. Each source reaches as far as its own distribution: Student's t with the noise's degrees of
    freedom, the normal distribution; the interval is their sum in quadrature, which holds even where the noise was
    small by chance (Cochran's idea for two variances, Biometrics 1964). p belongs to the interval that just reaches 0.
    benchmarks/error_rates.py counts how often that is wrong: docs/statistics.md has its table.
    """
    one, other = np.asarray(a), np.asarray(b)
    if len(one) != len(other) or not len(one):
        raise ValueError("paired trials: as many of A as of B, and at least one")
    if noise is None:
        if len(one) > 1:
            raise ValueError("several seeds: say how much seeds do")
        return _one_seed(both, pictures, int(one[0]), int(other[0]))
    return _several_seeds(both, pictures, one, other, noise)


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


def _several_seeds(both: np.ndarray, pictures: int, a: np.ndarray, b: np.ndarray, noise: SeedNoise) -> Difference:
    seeds = len(a)
    by_seed = (both[a, a] - both[b, b]) / pictures
    mean = float(by_seed.mean())
    # Sums of squares of the differences d[seed, picture]: of each picture's sum over seeds, and of all.
    picture_sums = both[np.ix_(a, a)].sum() + both[np.ix_(b, b)].sum() - 2 * both[np.ix_(a, b)].sum()
    all_squares = (both[a, a] + both[b, b] - 2 * both[a, b]).sum()
    of_seeds = pictures * ((by_seed - mean) ** 2).sum()
    of_pictures = max(picture_sums / seeds - seeds * pictures * mean**2, 0.0)
    of_rest = max(all_squares - seeds * pictures * mean**2 - of_seeds - of_pictures, 0.0)
    cells = seeds * pictures
    of_models = [max(noise.variance, _variance(both[rows, rows] / pictures)) for rows in (a, b)]
    from_seeds = sum(of_models) / seeds
    from_pictures = of_pictures / max(pictures - 1, 1) / cells
    rest = of_rest / max((seeds - 1) * (pictures - 1), 1) / cells
    # The rest is in both; where seeds seem to do less than it, it is not taken off.
    from_pictures -= min(rest, from_seeds, from_pictures)
    half = _reach(LEVEL, from_seeds, noise.freedom, from_pictures)
    p = _chance(mean, from_seeds, noise.freedom, from_pictures)
    # No difference in accuracy lies beyond 100 points: not a wrong model's end, but the scale's.
    low, high = max(mean - half, -1.0), min(mean + half, 1.0)
    return Difference(mean, low, high, p, seeds, from_seeds, from_pictures)


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _reach(level: float, from_seeds: float, freedom: int, from_pictures: float) -> float:
    """Half of the interval at that level."""
    from scipy.special import ndtri, stdtrit

    t, z = stdtrit(freedom, 1 - level / 2), ndtri(1 - level / 2)
    return float(np.sqrt(t * t * from_seeds + z * z * from_pictures))


def _chance(mean: float, from_seeds: float, freedom: int, from_pictures: float) -> float:
    """The level at which the interval just reaches 0; no less than SMALLEST."""
    if from_seeds + from_pictures <= 1e-15:  # the same answers, or a difference that is the same at each picture
        return float(mean == 0)
    low, high = math.log(SMALLEST), 0.0  # of the level's logarithm
    for _ in range(50):
        middle = (low + high) / 2
        if _reach(math.exp(middle), from_seeds, freedom, from_pictures) > abs(mean):
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def holm(p: Sequence[float]) -> list[float]:
    """The p values corrected for their number (Holm 1979): each bounds the chance of any false alarm among them."""
    order = np.argsort(p, kind="stable")
    raised = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0) if len(p) else raised
    return [float(value) for value in corrected]


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

    def top1(self, contender: Contender) -> dict[int, float]:
        """By seed, the share of the pictures that the model got right (0..1)."""
        rows = self._by_seed(contender)
        return {seed: float(self.right[row].mean()) for seed, row in rows.items()} if self.right.shape[1] else {}

    def difference(self, a: Contender, b: Contender, noise: SeedNoise | None) -> Difference | None:
        """The accuracy of A minus that of B over the seeds that both have; None where they share none."""
        rows_a, rows_b = self._by_seed(a), self._by_seed(b)
        shared = sorted(rows_a.keys() & rows_b.keys())
        if not shared or not self.right.shape[1]:
            return None
        return paired_difference(
            self.both, self.right.shape[1], [rows_a[seed] for seed in shared], [rows_b[seed] for seed in shared], noise
        )

    def _by_seed(self, contender: Contender) -> dict[int, int]:
        return {trial.record.seed: self.rows[trial.folder] for trial in contender.finished if trial.folder in self.rows}


def read_answers(trials: Iterable[Trial]) -> Answers:
    """Read each trial's predictions.npz once; the pictures are those that all of them were tested on."""
    folders = [trial.folder for trial in trials]
    read = [_read(folder) for folder in folders]
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


@once_a_file
def _read(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """The pictures' positions in the dataset, ascending, and whether each was classified rightly."""
    right = predictions.probabilities.argmax(1) == predictions.label
    order = np.argsort(predictions.index, kind="stable")
    return predictions.index[order], right[order]

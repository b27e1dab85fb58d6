"""How sure a measured time is: intervals of the median that assume no distribution.

Times are skewed and come in slow and fast minutes, so neither the mean nor a normal distribution
describes them. The interval by order statistics (Hahn & Meeker, Statistical Intervals, 1991, section
5.2) needs no more than independent samples. Neighbouring runs are not independent; rounds, apart in time,
more nearly are. `median_interval_of_rounds` covers both intervals, that of all runs and that of the
rounds' medians, so that drift from round to round widens it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
# With fewer samples, not even their whole range holds the median with 95 % confidence.
FEWEST = 6


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The narrowest symmetric pair of order statistics that holds the median with `confidence`.

    Where there are too few samples for it, their whole range: the best there is, and too narrow.
    """
    ordered = sorted(samples)
    count = len(ordered)
    # The rank-th smallest lies above the median if fewer than `rank` of `count` fair coins fell on one side.
    rank, ways, ways_so_far = 0, 1, 1
    while ways_so_far / 2**count <= (1 - confidence) / 2:
        rank += 1
        ways = ways * (count - rank + 1) // rank
        ways_so_far += ways
    low = max(rank - 1, 0)
    return ordered[low], ordered[count - 1 - low]


def median_interval_of_rounds(rounds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The interval of the median of samples that were taken in rounds."""
    runs = median_interval([sample for samples in rounds for sample in samples])
    medians = median_interval([statistics.median(samples) for samples in rounds])
    return min(runs[0], medians[0]), max(runs[1], medians[1])


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` per cent of the samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-percent * len(ordered) // 100) - 1)]

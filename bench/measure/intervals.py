"""How sure a measured time is: intervals of the median that assume no distribution.

Times are skewed and come in slow and fast minutes, so neither the mean nor a normal distribution
describes them. The interval by order statistics (Hahn & Meeker, Statistical Intervals, 1991, section
5.2) needs no more than independent samples. Neighbouring runs are not independent, nor are neighbouring
rounds beside another process; blocks of rounds more nearly are (the method of batch means). So
`median_interval_of_rounds` covers two intervals: that of all runs, and that of the medians of blocks.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

CONFIDENCE = 0.95
# The whole range of eight blocks' medians holds the median with 99 % were they independent, which they are nearly.
BLOCKS = 8


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
    """The interval of the median of samples that were taken in rounds, one after the other."""
    runs = median_interval([sample for samples in rounds for sample in samples])
    medians = [statistics.median(samples) for samples in rounds]
    blocks = min(BLOCKS, len(medians))
    bounds = [len(medians) * number // blocks for number in range(blocks + 1)]
    across = median_interval([statistics.median(medians[a:b]) for a, b in pairwise(bounds)])
    return min(runs[0], across[0]), max(runs[1], across[1])


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` per cent of the samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-percent * len(ordered) // 100) - 1)]

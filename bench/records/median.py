"""How sure a median is, whatever the distribution: where measurements are taken, and where they are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache


def median_interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """The narrowest symmetric pair of order statistics that holds the median with 95 %; None below six samples.

    It assumes no distribution (Hahn and Meeker, Statistical Intervals, 1991, section 5.2).
    """
    rank = _rank(len(samples))
    if rank is None:
        return None
    ordered = sorted(samples)
    return float(ordered[rank]), float(ordered[-1 - rank])


@cache
def _rank(count: int) -> int | None:
    """Which smallest, from 0, and which largest of `count` values hold the median between them with 95 %."""
    import numpy as np
    from scipy.special import bdtr  # scipy.stats has a test for it, and takes a second to import

    # The median lies below the smallest but `rank` if no more than `rank` of so many fair coins fell on one side.
    ranks = int((bdtr(np.arange(count // 2), count, 0.5) <= 0.025).sum())
    return ranks - 1 if ranks else None

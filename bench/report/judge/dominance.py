"""Which models another one beats in everything, and which are on the front of accuracy against a cost.

A model beats another if none of its numbers is worse than the other's, all of them can be compared, and one is better
by the verdict: a lead that the test cannot tell from chance beats nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.records.quantities import Quantity
from bench.report.judge.verdict import Standing, Verdicts


@dataclass(frozen=True)
class Front:
    """Places of the models that no other beats, cheapest first, and of those that can be compared with no other."""

    on: tuple[int, ...]
    unknown: tuple[int, ...]


def beats(standings: Sequence[Standing], a: int, b: int) -> bool:
    """Whether the model at place `a` beats that at `b` in these quantities, all of which both have."""
    if any(one.scores[a] < one.scores[b] for one in standings):
        return False
    outcomes = [one.between(a, b).outcome for one in standings]
    return "better" in outcomes and "unknown" not in outcomes


def front(verdicts: Verdicts, cost: Quantity, accuracy: Quantity) -> Front:
    """The front of `accuracy` against `cost`, of the models that have both; a cost without a better side: less is."""
    axes = [verdicts.on(one if one.better else replace(one, better="lower")) for one in (cost, accuracy)]
    places = [place for place in axes[0].order if axes[1].values[place] is not None]
    unknown = tuple(place for place in places if any(place in axis.silent for axis in axes))
    compared = np.array([place for place in places if place not in unknown], dtype=int)
    scores = np.array([[axis.scores[place] for axis in axes] for place in compared]).reshape(-1, 2)
    on = []
    for place, own in zip(compared.tolist(), scores, strict=True):
        # Only what has no worse number can beat it, and a better one.
        stronger = compared[(scores >= own).all(1) & (scores > own).any(1)].tolist()
        if not any(beats(axes, other, place) for other in stronger):
            on.append(place)
    return Front(tuple(on), unknown)

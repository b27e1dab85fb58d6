"""Which models another one beats in everything, and which are on the front of accuracy against a cost."""

from __future__ import annotations

from collections.abc import Sequence


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether A is at least as good as B in every value and better in one; more is better in all of them."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def dominators(values: Sequence[Sequence[float]]) -> list[list[int]]:
    """For each model, those that dominate it; more is better in all of a model's values."""
    return [[j for j, other in enumerate(values) if dominates(other, own)] for own in values]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of the points (cost, accuracy) no other dominates, cheapest first.

    A point dominates another if it costs no more, is no less accurate, and is better in one of the two. Equal points
    are all on the front.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    found: list[int] = []
    for i in order:
        if not found or points[i][1] > points[found[-1]][1] or points[i] == points[found[-1]]:
            found.append(i)
    return found

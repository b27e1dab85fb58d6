"""Which models can be told apart, as letters: two models share one if, and only if, the test cannot tell them apart."""

from __future__ import annotations

from collections.abc import Collection
from string import ascii_lowercase

from bench.report.judge.paired import ALL_PAIRS
from bench.report.judge.verdict import Standing


def groups(standing: Standing) -> list[str]:
    """The letters of each model on that quantity, by place; none where no two were tested, or not every pair is."""
    count = len(standing.values)
    if not 1 < count <= ALL_PAIRS or not standing.tested:
        return []
    return letters(count, standing.apart)


def letters(count: int, apart: Collection[tuple[int, int]]) -> list[str]:
    """The letters of each of `count` models, in order, `a` for the first's; `apart` has the pairs that are told apart.

    Insert and absorb (Piepho, Journal of Computational and Graphical Statistics 13, 2004): from one group of all, each
    such pair splits the groups that hold both, and what lies within another group goes.
    """
    groups = [frozenset(range(count))] if count else []
    for a, b in sorted(apart):
        split: list[frozenset[int]] = []
        for group in groups:
            split += [group - {a}, group - {b}] if a in group and b in group else [group]
        groups = [
            group
            for place, group in enumerate(split)
            if not any(group < other or (group == other and place > at) for at, other in enumerate(split))
        ]
    groups.sort(key=lambda group: sorted(group))
    return ["".join(_letter(at) for at, group in enumerate(groups) if one in group) for one in range(count)]


def _letter(place: int) -> str:
    """a … z, then a', b', …"""
    return ascii_lowercase[place % 26] + "'" * (place // 26)

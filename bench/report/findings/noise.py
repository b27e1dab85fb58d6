"""Which differences of accuracy are more than chance."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.findings.leaders import Standing
from bench.report.judge.paired import ALL_PAIRS, LEVEL, Pair, groups
from bench.report.text.markup import markdown
from bench.report.text.numbers import chance, counted, cut, listed, points

ONE_SEED = (
    "McNemar's exact test on the pictures that only one of the two got right: it says whether these trained models "
    "differ, not whether other seeds would"
)
SEVERAL_SEEDS = (
    "a two-way analysis of variance of the differences by seed and test picture, so that both the choice of seeds and "
    "the choice of pictures count as chance"
)


def noise_lines(standing: Standing) -> list[str]:
    """How pairs were tested, which are told apart, and which models cannot be."""
    names = [contender.model for contender in standing.contenders]
    tested = list(standing.pairs.values())
    if not tested:
        return []
    apart = [pair for pair in tested if pair.p < LEVEL]
    lines = [_how(tested, len(names)), _summary(tested, apart, names)]
    lines += [_best(standing, names)]
    if apart and len(names) <= ALL_PAIRS:
        lines += _groups(tested, names)
    return lines


def _how(tested: Sequence[Pair], models: int) -> str:
    seeds = {pair.difference.seeds for pair in tested}
    tests = [SEVERAL_SEEDS] if seeds - {1} else []
    tests += [ONE_SEED] if 1 in seeds else []
    what = "each pair" if models <= ALL_PAIRS else "each model with the best"
    return (
        f"Tested {what} on the same test pictures by {'; where only one seed is shared, by '.join(tests)}. "
        f"p is corrected for the {counted(len(tested), 'pair')} tested (Holm); {LEVEL:.0%} or more is within "
        "noise, which does not mean equal. "
        "Intervals are of each pair by itself, not corrected."
    ).replace("%", " %")


def _summary(tested: Sequence[Pair], apart: Sequence[Pair], names: Sequence[str]) -> str:
    if not apart:
        closest = min(tested, key=lambda pair: (pair.p, -abs(pair.difference.value), pair.a, pair.b))
        return f"No two models are told apart. The nearest to it: {_said(closest, names)}."
    smallest = min(apart, key=lambda pair: (abs(pair.difference.value), pair.a, pair.b))
    return (
        f"{len(apart)} of {counted(len(tested), 'pair')} {'is' if len(apart) == 1 else 'are'} told apart; the smallest "
        f"difference among these: {_said(smallest, names)}."
    )


def _said(pair: Pair, names: Sequence[str]) -> str:
    difference = pair.difference
    return (
        f"{markdown(names[pair.a])} over {markdown(names[pair.b])}, {points(difference.value)} points, 95 % interval "
        f"[{points(difference.low)}, {points(difference.high)}], {chance(pair.p)}"
    )


def _best(standing: Standing, names: Sequence[str]) -> str:
    """The best model against each other one."""
    shown = []
    for other in range(1, len(names)):
        pair = standing.pairs.get((0, other))
        if pair is None:
            shown.append(f"{markdown(names[other])} not tested")
            continue
        difference = pair.difference
        verdict = "" if pair.p < LEVEL else ", within noise"
        shown.append(
            f"{markdown(names[other])} {points(difference.value)} "
            f"[{points(difference.low)}, {points(difference.high)}], {chance(pair.p)}{verdict}"
        )
    return f"Points by which {markdown(names[0])}, the best, is ahead of each: {'; '.join(cut(shown))}."


def _groups(tested: Sequence[Pair], names: Sequence[str]) -> list[str]:
    apart = {(pair.a, pair.b) for pair in tested if pair.p < LEVEL}
    shown = [f"({listed([names[place] for place in run])})" for run in groups(len(names), apart)]
    if not shown:
        return []
    return [f"Neighbours that cannot be told from one another, best first: {', '.join(cut(shown))}."]

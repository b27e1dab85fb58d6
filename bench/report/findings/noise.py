"""Which differences of accuracy are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.records.quantities import BY_KEY
from bench.report.judge.paired import ALL_PAIRS, LEVEL
from bench.report.judge.verdict import Verdict, Verdicts
from bench.report.text.markup import markdown
from bench.report.text.numbers import counted, cut
from bench.report.text.verdicts import ONE_SEED, evidence, gap, said

ACCURACY = BY_KEY["accuracy"]
MCNEMAR = "McNemar's exact test on the pictures that only one of the two got right"
SEVERAL_SEEDS = (
    "the differences by seed and test picture, so that both the choice of seeds (its variance pooled over all models) "
    "and the choice of pictures count as chance"
)

Tested = Mapping[tuple[int, int], Verdict]


def noise_lines(verdicts: Verdicts) -> list[str]:
    """How pairs were tested, which are told apart, and which models cannot be."""
    names = [contender.model for contender in verdicts.contenders]
    standing = verdicts.on(ACCURACY)
    tested, apart = standing.tested, standing.apart
    if not tested:
        return []
    return [_how(verdicts, tested), _summary(tested, apart, names), _best(verdicts, names)]


def _how(verdicts: Verdicts, tested: Tested) -> str:
    counts = {one.seeds for one in tested.values()}
    tests = [SEVERAL_SEEDS] if counts - {1} else []
    tests += [MCNEMAR] if 1 in counts else []
    what = "each pair" if len(verdicts.contenders) <= ALL_PAIRS else "each model with the best"
    return (
        f"Tested {what} on the same test pictures by {'; where only one seed is shared, by '.join(tests)}. "
        f"p is corrected for the {counted(len(tested), 'pair')} tested (Holm); {LEVEL:.0%} or more is within "
        "noise, a tie, which does not mean equal. "
        f"Intervals are of each pair by itself, not corrected.{f' {ONE_SEED}' if 1 in counts else ''}"
    ).replace("%", " %")


def _summary(tested: Tested, apart: Tested, names: Sequence[str]) -> str:
    if not apart:
        closest = min(tested, key=lambda pair: (tested[pair].p, -abs(tested[pair].value or 0), pair))
        return f"No two models are told apart. The nearest to it: {_said(closest, tested, names)}."
    smallest = min(apart, key=lambda pair: (abs(apart[pair].value or 0), pair))
    return (
        f"{len(apart)} of {counted(len(tested), 'pair')} {'is' if len(apart) == 1 else 'are'} told apart; the smallest "
        f"difference among these: {_said(smallest, tested, names)}."
    )


def _said(pair: tuple[int, int], tested: Tested, names: Sequence[str]) -> str:
    a, b = (markdown(names[place]) for place in pair)
    return f"{a} against {b}, {gap(ACCURACY, tested[pair])} points, {evidence(tested[pair])}"


def _best(verdicts: Verdicts, names: Sequence[str]) -> str:
    """The best model against each other one."""
    shown = []
    for other in range(1, len(names)):
        verdict = verdicts.on(ACCURACY).between(0, other)
        tested = f"{gap(ACCURACY, verdict)}, " if verdict.p is not None else ""
        shown.append(f"{markdown(names[other])} {tested}{said(verdict)}")
    return f"Points by which {markdown(names[0])}, the best, is ahead of each: {'; '.join(cut(shown))}."

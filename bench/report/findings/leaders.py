"""Who is best on each quantity, who is beaten in everything, and who is on the front of accuracy against a cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records.comparison import Contender
from bench.records.quantities import BY_KEY, QUANTITIES, Quantity
from bench.report.judge.dominance import dominators, front
from bench.report.judge.intervals import Estimate, estimate
from bench.report.judge.paired import LEVEL, Pair
from bench.report.text.markup import markdown
from bench.report.text.numbers import (
    chance,
    counted,
    cut,
    label_parts,
    listed,
    number,
    with_interval,
    with_unit,
)

DOMINANCE = tuple(quantity.key for quantity in QUANTITIES if quantity.dominance)
FRONTS = tuple(quantity.key for quantity in QUANTITIES if quantity.front)


@dataclass(frozen=True)
class Standing:
    """The finished models of a comparison, best test top-1 first, and what is known of their differences."""

    contenders: Sequence[Contender]
    pairs: Mapping[tuple[int, int], Pair]

    def pair(self, a: int, b: int) -> Pair | None:
        """The test of these two models' accuracies, by their places; None where they were not tested."""
        return self.pairs.get((min(a, b), max(a, b)))


def best_lines(standing: Standing) -> list[str]:
    """For each quantity that two models or more have: the best, who follows, and by how much."""
    lines = []
    for quantity in QUANTITIES:
        if quantity.better is None:
            continue
        found = {
            place: known
            for place, contender in enumerate(standing.contenders)
            if (known := estimate(quantity, contender)) is not None
        }
        if len(found) > 1:
            lines.append(_best_line(standing, quantity, found))
    return lines


def _best_line(standing: Standing, quantity: Quantity, found: Mapping[int, Estimate]) -> str:
    sign = -1 if quantity.better == "higher" else 1
    order = sorted(found, key=lambda place: (sign * found[place].mean, standing.contenders[place].model))
    names = {place: standing.contenders[place].model for place in order}
    first = found[order[0]]
    level = [place for place in order if number(quantity, found[place].mean) == number(quantity, first.mean)]
    head = f"**{markdown(quantity.label)}** ({quantity.better} is better): "
    if len(level) > 1:
        shared = listed([names[place] for place in level])
        head += f"{shared} share the best value, {_known(quantity, first)}"
        if len(level) == len(order):
            return f"{head}; all models have it."
    else:
        head += f"{markdown(names[order[0]])} is best with {_known(quantity, first)}"
    after = order[len(level)]
    second = found[after]
    tail = f"{markdown(names[after])} follows with {_known(quantity, second)} ({_margin(quantity, first, second)})"
    if quantity.key == "accuracy":
        doubt = _paired(standing.pair(order[0], after))
    else:
        doubt = "; their intervals overlap: the order may be chance" if _overlap(first, second) else ""
    return f"{head}; {tail}{doubt}."


def _known(quantity: Quantity, value: Estimate) -> str:
    return with_interval(quantity, value.mean, value.low, value.high)


def _paired(pair: Pair | None) -> str:
    if pair is None:
        return ""
    return f"; {'more than chance' if pair.p < LEVEL else 'within noise'}, {chance(pair.p)}"


def _margin(quantity: Quantity, first: Estimate, second: Estimate) -> str:
    gap = abs(second.mean - first.mean)
    if quantity.in_points:
        return f"{gap:.{quantity.decimals}f} points behind"
    if first.mean <= 0:
        return f"{number(quantity, gap)} behind"
    return f"{gap / first.mean:.1%} {'less' if quantity.better == 'higher' else 'more'}".replace("%", " %")


def _overlap(a: Estimate, b: Estimate) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def dominance_lines(standing: Standing) -> list[str]:
    """Who is beaten by whom in accuracy and every cost that all models have."""
    quantities, values = _values(standing.contenders, DOMINANCE)
    if len(quantities) < 2:
        return []
    signs = [1 if quantity.better == "higher" else -1 for quantity in quantities]
    beaten_by = dominators([[sign * value for sign, value in zip(signs, own, strict=True)] for own in values])
    names = [contender.model for contender in standing.contenders]

    def figures(place: int) -> str:
        return ", ".join(with_unit(quantity, value) for quantity, value in zip(quantities, values[place], strict=True))

    lines = []
    for place, by in enumerate(beaten_by):
        if not by:
            continue
        others = f", and by {counted(len(by) - 1, 'other model')}" if len(by) > 1 else ""
        pair = standing.pair(by[0], place)
        doubt = f"; their accuracies are within noise, {chance(pair.p)}" if pair and pair.p >= LEVEL else ""
        lines.append(
            f"{markdown(names[place])} ({figures(place)}) is dominated by {markdown(names[by[0]])} "
            f"({figures(by[0])}){others}{doubt}."
        )
    free = [name for name, by in zip(names, beaten_by, strict=True) if not by]
    judged = ", ".join(label_parts(quantity)[0] for quantity in quantities)
    head = f"Judged by {judged}, as measured, {listed(free)} {'is' if len(free) == 1 else 'are'} dominated by no model."
    return [head, *cut(lines)]


def front_lines(standing: Standing) -> list[str]:
    """The models on the front of accuracy against each of the costs, cheapest first."""
    lines = []
    for key in FRONTS:
        quantities, values = _values(standing.contenders, ("accuracy", key))
        if len(quantities) < 2:
            continue
        accuracy, cost = quantities
        on = front([(own[1], own[0]) for own in values])
        shown = [
            f"{markdown(standing.contenders[place].model)} ({with_unit(cost, values[place][1])}, "
            f"{number(accuracy, values[place][0])} %)"
            for place in on
        ]
        lines.append(
            f"The Pareto front of test top-1 against {label_parts(cost)[0]} has {len(on)} of {len(values)} models: "
            f"{', '.join(cut(shown))}."
        )
    return lines


def _values(contenders: Sequence[Contender], keys: Sequence[str]) -> tuple[list[Quantity], list[list[float]]]:
    """Those of the quantities that every model has, and their means, model by model."""
    found = {key: [estimate(BY_KEY[key], contender) for contender in contenders] for key in keys}
    whole = {key: [one.mean for one in own if one] for key, own in found.items() if all(own)}
    return [BY_KEY[key] for key in whole], [list(row) for row in zip(*whole.values(), strict=True)]

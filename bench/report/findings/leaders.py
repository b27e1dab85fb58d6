"""Who is best on each quantity, who is beaten in everything, and who is on the front of accuracy against a cost."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY, Quantity
from bench.report.judge.dominance import beats, front
from bench.report.judge.intervals import Estimate
from bench.report.judge.letters import groups
from bench.report.judge.verdict import Standing, Verdicts
from bench.report.text.markup import Cell, Table, markdown
from bench.report.text.numbers import counted, cut, estimated, label_parts, listed, number, with_unit
from bench.report.text.verdicts import GROUP, gap, known, said


def summary_table(comparison: Comparison) -> Table:
    """A row a model: top-1, its letters, what it is worse than the best by, and the costs that count most."""
    verdicts = Verdicts.of(comparison)
    accuracy, *costs = (verdicts.on(BY_KEY[key]) for key in ("accuracy", "params", "gmacs", "latency_ms", "memory"))
    places = range(len(comparison.finished))
    shown = [one for one in costs if one.order]
    group = groups(accuracy)
    headers = ["model", accuracy.quantity.label, *([GROUP] if group else []), "to the best (points)"]
    rows = []
    for place in places:
        first = accuracy.order[0] if accuracy.order else place
        behind = "" if place == first else gap(accuracy.quantity, accuracy.between(place, first))
        rows.append(
            [
                Cell(comparison.finished[place].model),
                Cell(known(accuracy, place)),
                *([Cell(group[place])] if group else []),
                Cell(behind),
                *(Cell(known(one, place)) for one in shown),
            ]
        )
    return Table([*headers, *(one.quantity.label for one in shown)], rows)


def best_lines(verdicts: Verdicts, quantities: Sequence[Quantity]) -> list[str]:
    """For each quantity that two models or more have: the best, who follows, and by how much."""
    names = [contender.model for contender in verdicts.contenders]
    # Of times that no session took there is no order.
    ordered = (one for one in quantities if one.better is not None and (one.kind != "time" or one.series))
    standings = [verdicts.on(quantity) for quantity in ordered]
    return [_best_line(standing, names) for standing in standings if len(standing.order) > 1]


def _best_line(standing: Standing, names: Sequence[str]) -> str:
    quantity, order = standing.quantity, standing.order
    first = _value(standing, order[0])
    level = [place for place in order if number(quantity, _value(standing, place).mean) == number(quantity, first.mean)]
    head = f"**{markdown(quantity.label)}** ({quantity.better} is better): "
    if len(level) > 1:
        shared = listed([names[place] for place in level])
        head += f"{shared} share the best value, {estimated(quantity, first)}"
        if len(level) == len(order):
            return f"{head}; all models have it."
    else:
        head += f"{markdown(names[order[0]])} has the best value, {estimated(quantity, first)}"
    after = order[len(level)]
    second, verdict = _value(standing, after), standing.between(after, order[0])
    return (
        f"{head}; {markdown(names[after])} follows with {estimated(quantity, second)} "
        f"({_margin(quantity, first, second)}); {said(verdict)}."
    )


def _value(standing: Standing, place: int) -> Estimate:
    value = standing.values[place]
    assert value is not None  # of a model that has it
    return value


def _margin(quantity: Quantity, first: Estimate, second: Estimate) -> str:
    behind = abs(second.mean - first.mean)
    if quantity.in_points:
        return f"{behind:.{quantity.decimals}f} points behind"
    if first.mean <= 0:
        return f"{number(quantity, behind)} behind"
    return f"{behind / first.mean:.1%} {'less' if quantity.better == 'higher' else 'more'}".replace("%", " %")


def dominance_lines(verdicts: Verdicts, quantities: Sequence[Quantity]) -> list[str]:
    """Who is beaten by whom in accuracy and every cost that all models have."""
    places = range(len(verdicts.contenders))
    whole = [one for one in map(verdicts.on, quantities) if one.quantity.dominance and len(one.order) == len(places)]
    judged = [one for one in whole if not _silence(one)]
    if len(judged) < 2:
        return []
    names = [contender.model for contender in verdicts.contenders]

    def figures(place: int) -> str:
        return ", ".join(with_unit(one.quantity, _value(one, place).mean) for one in judged)

    lines, free = [], []
    for place in places:
        by = [other for other in places if other != place and beats(judged, other, place)]
        if not by:
            free.append(names[place])
            continue
        leads = [label_parts(one.quantity)[0] for one in judged if one.between(by[0], place).outcome == "better"]
        others = f", and by {counted(len(by) - 1, 'other model')}" if len(by) > 1 else ""
        lines.append(
            f"{markdown(names[place])} ({figures(place)}) is dominated by {markdown(names[by[0]])} "
            f"({figures(by[0])}){others}; the lead in {listed(leads)} is more than chance."
        )
    left_out = "; ".join(f"{label_parts(one.quantity)[0]} ({reason})" for one in whole if (reason := _silence(one)))
    head = (
        f"Judged by {', '.join(label_parts(one.quantity)[0] for one in judged)}, {listed(free)} "
        f"{'is' if len(free) == 1 else 'are'} dominated by no model; dominated is what is no better in any, and worse "
        "in one by more than chance." + (f" Nothing is known of differences in {left_out}." if left_out else "")
    )
    return [head, *cut(lines)]


def _silence(standing: Standing) -> str:
    """Why no two models can be compared; empty where any can."""
    if len(standing.silent) < len(standing.order):
        return ""
    best, *others = standing.order
    return standing.between(best, others[0]).reason if others else "only one model has it"


def front_lines(verdicts: Verdicts, quantities: Sequence[Quantity]) -> list[str]:
    """The models on the front of accuracy against each of the costs, cheapest first."""
    lines = []
    accuracy = verdicts.on(BY_KEY["accuracy"])
    for cost in (verdicts.on(one) for one in quantities if one.front):
        if len(cost.order) < 2:
            continue
        found, name = front(verdicts, cost.quantity, accuracy.quantity), label_parts(cost.quantity)[0]
        if not found.on:
            lines.append(
                f"There is no Pareto front of test top-1 against {name}: {_silence(cost) or _silence(accuracy)}."
            )
            continue
        shown = [
            f"{markdown(verdicts.contenders[place].model)} ({with_unit(cost.quantity, _value(cost, place).mean)}, "
            f"{number(accuracy.quantity, _value(accuracy, place).mean)} %)"
            for place in found.on
        ]
        apart = listed([verdicts.contenders[place].model for place in found.unknown])
        lines.append(
            f"The Pareto front of test top-1 against {name} has {len(found.on)} of {len(cost.order)} models: "
            f"{', '.join(cut(shown))}." + (f" Not to be compared with any: {apart}." if found.unknown else "")
        )
    return lines

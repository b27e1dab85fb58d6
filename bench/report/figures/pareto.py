"""Accuracy against what it costs: every model a point, and the front of those that no other beats on both.

What was disturbed stands hollow with a † behind its name, and on no front (report/judge).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY, Quantity
from bench.report.figures.style import conditions
from bench.report.judge.dominance import front
from bench.report.judge.extended import changes
from bench.report.judge.verdict import Verdicts
from bench.report.text.bars import bars_read, bars_said, interval

DISTURBED = "†: other work disturbed the measurement"
UNKNOWN = "no front: nothing is known of the differences"


@dataclass(frozen=True)
class Point:
    """A model: its cost and its test top-1 (percent), each with its interval where one is known."""

    model: str
    family: str
    cost: float
    cost_interval: tuple[float, float] | None
    top1: float
    top1_interval: tuple[float, float] | None
    disturbed: bool = False


@dataclass(frozen=True)
class AgainstCost:
    """The points of one figure's panel; `front` are those that no other beats, cheapest first, by their numbers."""

    label: str
    about: str
    points: tuple[Point, ...]
    front: tuple[int, ...]
    bars: str = ""  # what the bars across are
    arrows: tuple[tuple[int, int], ...] = ()  # from a base to an extended model, by their numbers


@dataclass(frozen=True)
class Pareto:
    conditions: str
    panels: tuple[AgainstCost, ...]
    title: str = "Test top-1 against cost"


def costs(comparison: Comparison) -> dict[str, Pareto]:
    """One figure for each cost that any model has, by the quantity's key; `""` names the overview."""
    verdicts = Verdicts.of(comparison)
    found = {
        quantity.key: drawn
        for quantity in comparison.quantities
        if quantity.cost and (drawn := _against(verdicts, quantity)) is not None
    }
    overview = tuple(found[one.key] for one in comparison.quantities if one.overview and one.key in found)
    figures = {"": overview} if overview else {}
    about, accuracy = conditions(comparison.first), BY_KEY["accuracy"]
    up = bars_read(accuracy, verdicts.on(accuracy).values)
    return {
        key: Pareto("; ".join([about, *_notes(up, panels)]), panels)
        for key, panels in (figures | {key: (one,) for key, one in found.items()}).items()
    }


def extended(comparison: Comparison, overview: Pareto | None) -> Pareto | None:
    """The overview's extended models and their bases, with an arrow from each base; None where there are none."""
    found = changes(comparison)
    if not found or overview is None:
        return None
    names = [contender.model for contender in comparison.finished]
    pairs = [(names[change.base], names[change.place]) for change in found]
    panels = tuple(_of_pairs(panel, pairs) for panel in overview.panels)
    return replace(overview, panels=panels, title="What extensions change: from each base to the extended model")


def _of_pairs(panel: AgainstCost, pairs: Sequence[tuple[str, str]]) -> AgainstCost:
    """The panel with these models alone, and their arrows."""
    wanted = {name for pair in pairs for name in pair}
    kept = [number for number, point in enumerate(panel.points) if point.model in wanted]
    points = tuple(panel.points[number] for number in kept)
    numbers = {point.model: number for number, point in enumerate(points)}
    front = tuple(kept.index(number) for number in panel.front if number in kept)
    arrows = tuple((numbers[base], numbers[own]) for base, own in pairs if base in numbers and own in numbers)
    return replace(panel, points=points, front=front, arrows=arrows)


def _notes(up: str, panels: tuple[AgainstCost, ...]) -> list[str]:
    """What is to be known of what these panels draw."""
    notes = [
        bars_said(up, [one.bars for one in panels]),
        DISTURBED if any(point.disturbed for one in panels for point in one.points) else "",
        "" if any(one.front for one in panels) else UNKNOWN,
    ]
    return [note for note in notes if note]


def has_overview(comparison: Comparison) -> bool:
    """Whether `costs` has an overview, without the rest."""
    return any(has_cost(comparison, one.key) for one in comparison.quantities if one.cost and one.overview)


def has_cost(comparison: Comparison, key: str) -> bool:
    """Whether `costs` has a figure of that cost, without the rest."""
    standing = next(Verdicts.of(comparison).on(one) for one in comparison.quantities if one.key == key)
    return bool(standing.order)


def _against(verdicts: Verdicts, quantity: Quantity) -> AgainstCost | None:
    """None where no model has the cost."""
    accuracy, standing = BY_KEY["accuracy"], verdicts.on(quantity)
    values = zip(standing.values, verdicts.on(accuracy).values, strict=True)
    points: dict[int, Point] = {}
    for at, (contender, (cost, top1)) in enumerate(zip(verdicts.contenders, values, strict=True)):
        if cost is not None and top1 is not None:
            family, disturbed = contender.first.model.family, bool(standing.disturbed[at])
            points[at] = Point(contender.model, family, cost.mean, interval(cost), top1.mean, interval(top1), disturbed)
    if not points:
        return None
    numbers = {at: number for number, at in enumerate(points)}
    on = tuple(numbers[at] for at in front(verdicts, quantity, accuracy).on)
    bars = bars_read(quantity, [standing.values[at] for at in points])
    return AgainstCost(quantity.label, quantity.about, tuple(points.values()), on, bars)

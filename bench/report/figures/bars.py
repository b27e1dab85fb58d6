"""What a training step consists of: where its time goes, and its memory.

How long a step takes is the judge's to say, from times that can be compared; which part of it each phase takes, the
trials' own. Where no times can be compared the parts are drawn alone, as shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bench.records.comparison import Comparison
from bench.records.record import Record
from bench.report.figures.style import BLUE, GREEN, SKY, VERMILION, conditions
from bench.report.judge.intervals import Estimate
from bench.report.judge.verdict import Verdicts
from bench.report.text.bars import bars_read, interval
from bench.report.text.names import distinct

YELLOW = "#F0E442"  # the eighth of Okabe and Ito's colours: too light for a line
# Name, colour, hatch: neighbours differ in lightness, or by a hatch.
PHASES = (("data", YELLOW, ""), ("forward", SKY, ""), ("backward", BLUE, ""), ("optimizer", VERMILION, "...."))
MEMORY = (
    ("parameters", BLUE, ""), ("gradients", SKY, ""), ("optimizer", VERMILION, "...."),
    ("activations", YELLOW, ""), ("inputs", GREEN, "////"), ("other", "#BBBBBB", ""),
)  # fmt: skip
STEP, PEAK = "step_ms", "memory"  # the quantities that the bars reach to
NAME = 28  # letters of a model's name before its bar

# The batch of a record's training step, and its parts.
Read = Callable[[Record], tuple[int, Mapping[str, float]] | None]


@dataclass(frozen=True)
class Bar:
    """A model: the shares of its parts, and the total where it is known, with what a line at the bar's end spans."""

    model: str
    shares: tuple[float, ...]  # percent
    total: float | None = None
    span: tuple[float, float] | None = None
    disturbed: bool = False

    @property
    def name(self) -> str:
        """As it stands before the bar."""
        return f"{self.model} †" if self.disturbed else self.model


@dataclass(frozen=True)
class Bars:
    """Each model's bar, least total first, those without one last."""

    title: str
    conditions: str
    label: str
    parts: tuple[tuple[str, str, str], ...]
    models: tuple[Bar, ...]
    shares: bool  # whether to draw the parts of 100 % too


def step_time(comparison: Comparison) -> Bars | None:
    """Milliseconds of a training step by phase; None where no trial tells its phases."""
    models, batch = _models(comparison, PHASES, _phases, STEP)
    if not models:
        return None
    about = "; ".join([conditions(comparison.first), *_notes(comparison, STEP, models)])
    return Bars("Where the time of a training step goes", about, f"ms a training step{batch}", PHASES, models, True)


def step_memory(comparison: Comparison) -> Bars | None:
    """Megabytes by what takes them, at the moment when a training step needs most; None where none was measured."""
    models, batch = _models(comparison, MEMORY, _memory, PEAK)
    models = tuple(one for one in models if one.total is not None)
    if not models:
        return None
    about = "; ".join([conditions(comparison.first), *_notes(comparison, PEAK, models)])
    return Bars("Memory at the peak of a training step", about, f"MB (10⁶ bytes){batch}", MEMORY, models, False)


def _notes(comparison: Comparison, key: str, models: tuple[Bar, ...]) -> list[str]:
    """What is to be known of what is drawn."""
    found = []
    if any(one.span for one in models):
        (quantity,) = (one for one in comparison.quantities if one.key == key)
        what = bars_read(quantity, Verdicts.of(comparison).on(quantity).values) or "from the lowest seed to the highest"
        found.append(f"lines: {what}")
    if any(one.disturbed for one in models):
        found.append("†: other work disturbed the measurement")
    return found


def _models(
    comparison: Comparison, parts: tuple[tuple[str, str, str], ...], read: Read, key: str
) -> tuple[tuple[Bar, ...], str]:
    """Each model's bar, and the batch in words: of all, or behind each name where they differ.

    The shares are of the mean over its trials; what is none of the named parts counts as the last.
    """
    totals = _totals(comparison, key)
    names = [name for name, _, _ in parts]
    found: list[tuple[Bar, int]] = []
    for contender in comparison.finished:
        steps = [step for trial in contender.finished if (step := read(trial.record))]
        if steps:
            amounts = dict.fromkeys(names, 0.0)
            for _, own in steps:
                for name, amount in own.items():
                    amounts[name if name in amounts else names[-1]] += amount
            whole = sum(amounts.values()) or 1.0
            shares = tuple(100 * amount / whole for amount in amounts.values())
            value, disturbed = totals.get(contender.model, (None, False))
            total, span = (value.mean, _span(value)) if value else (None, None)
            found.append((Bar(contender.model, shares, total, span, disturbed), steps[0][0]))
    found.sort(key=lambda one: (one[0].total is None, one[0].total or 0.0))
    batches = {batch for _, batch in found}
    same = len(batches) == 1
    short = distinct([bar.model for bar, _ in found], NAME)
    rows = tuple(
        replace(bar, model=name if same else f"{name} ({batch})")
        for name, (bar, batch) in zip(short, found, strict=True)
    )
    return rows, f", batch of {batches.pop()}" if same else ", batch in brackets"


def _totals(comparison: Comparison, key: str) -> dict[str, tuple[Estimate | None, bool]]:
    """By model, the judge's value of that quantity, and whether it was disturbed."""
    quantity = next((one for one in comparison.quantities if one.key == key), None)
    if quantity is None:
        return {}
    standing = Verdicts.of(comparison).on(quantity)
    disturbed = map(bool, standing.disturbed)
    models = [contender.model for contender in comparison.finished]
    return dict(zip(models, zip(standing.values, disturbed, strict=True), strict=True))


def _span(value: Estimate) -> tuple[float, float] | None:
    """Its interval; of a count, which has none, the least and the most of its trials; None where that has no width."""
    least, most = min(value.values), max(value.values)
    return interval(value) if value.low is not None else (least, most) if least < most else None


def _phases(record: Record) -> tuple[int, Mapping[str, float]] | None:
    step = record.measured.train_step
    return (step.batch or 0, step.phases) if step and step.phases else None


def _memory(record: Record) -> tuple[int, Mapping[str, float]] | None:
    memory = record.measured.memory
    return (memory.train_batch or 0, memory.train_breakdown) if memory and memory.train_breakdown else None

"""What an extension changes: each extended model beside its own base, in one comparison.

Accuracy is the difference that `Verdicts` gives of the two, on the same test pictures; what is counted is the ratio of
the two counts; times are the ratios of timing sessions in which both took turns. An extension

- pays, where top-1 is higher by more than chance, or it needs fewer MACs, the 95 % interval of the difference holds no
  loss of MARGIN points or more, and the base is known to do better than guessing;
- costs, where top-1 is lower by more than chance, or it needs more MACs and top-1 is not higher by more than chance;
- else it cannot be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY
from bench.report.judge.verdict import Verdict, Verdicts

Outcome = Literal["pays", "costs", "cannot tell"]
# Of which the ratio to the base is shown, in the order of the table.
RATIOS = tuple(BY_KEY[key] for key in ("gmacs", "params", "latency_ms", "throughput", "memory", "step_ms"))
MARGIN = 1.0  # points of top-1


@dataclass(frozen=True)
class Ratio:
    """The extended model's value over its base's, with the 95 % interval where it is one of times."""

    value: float
    low: float | None = None
    high: float | None = None
    disturbed: bool = False


@dataclass(frozen=True)
class Change:
    """An extended model and its base, by their places among the finished models, and what is different."""

    place: int
    base: int
    accuracy: Verdict  # of the extended model against its base, in points
    ratios: dict[str, Ratio]  # by the quantity's key; without what one of the two lacks
    guessing: bool = False  # whether the base's top-1 may be that of a guess among the classes

    @property
    def outcome(self) -> Outcome:
        """Whether the extension pays."""
        macs = self.ratios["gmacs"].value if "gmacs" in self.ratios else 1.0
        if self.accuracy.outcome == "better":
            return "pays"
        if self.accuracy.outcome == "worse" or (self.accuracy.outcome == "tie" and macs > 1):
            return "costs"
        kept = self.accuracy.low is not None and self.accuracy.low > -MARGIN and not self.guessing
        return "pays" if kept and macs < 1 else "cannot tell"


def changes(comparison: Comparison) -> list[Change]:
    """Of every finished model that is extended and whose base is there, in the comparison's order."""
    if "changes" not in comparison.worked_out:
        comparison.worked_out["changes"] = _changes(comparison)
    found: list[Change] = comparison.worked_out["changes"]
    return found


def _changes(comparison: Comparison) -> list[Change]:
    verdicts, accuracy = Verdicts.of(comparison), BY_KEY["accuracy"]
    places = {contender.model: place for place, contender in enumerate(comparison.finished)}
    found = []
    for place in places.values():
        own = comparison.finished[place].first.model
        base = places.get(own.base) if own.extensions else None
        if base is not None:
            compared = verdicts.on(accuracy).between(place, base)
            ratios = {one.key: ratio for one in RATIOS if (ratio := _ratio(verdicts, one.key, place, base))}
            found.append(Change(place, base, compared, ratios, _guesses(verdicts, base)))
    return found


def _guesses(verdicts: Verdicts, place: int) -> bool:
    """Whether the model's top-1 may be that of a guess among the classes."""
    found, classes = verdicts.on(BY_KEY["accuracy"]).values[place], verdicts.contenders[place].first.data.classes
    return found is not None and (found.mean if found.low is None else found.low) <= 100 / max(1, len(classes))


def _ratio(verdicts: Verdicts, key: str, place: int, base: int) -> Ratio | None:
    standing = verdicts.on(BY_KEY[key])
    ours, theirs = standing.values[place], standing.values[base]
    if ours is None or theirs is None:
        return None
    if standing.quantity.kind != "time":
        return Ratio(ours.mean / theirs.mean) if theirs.mean else None
    verdict = standing.between(place, base)
    disturbed = bool(standing.disturbed[place] or standing.disturbed[base])
    return None if verdict.value is None else Ratio(verdict.value, verdict.low, verdict.high, disturbed)

"""What it changes when each model has its own best learning rate: a tuned comparison beside its equal settings.

Each model is held against itself, on the same test pictures and seeds; and each two models are judged under both, so
that what changes of their order is what both comparisons' own tests say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.protocol import fingerprint_of
from bench.records.comparison import Comparison, Contender
from bench.records.identity import terms_of
from bench.records.quantities import BY_KEY
from bench.report.judge.verdict import Verdict, Verdicts

ACCURACY = BY_KEY["accuracy"]


@dataclass(frozen=True)
class Gain:
    """A model under both: what its own settings change in top-1, and which each seed chose; how often it trained."""

    model: str
    change: Verdict  # tuned against equal, in points
    chosen: tuple[tuple[float, float | None], ...]  # learning rate and weight decay, in the order of the seeds
    tries: int


@dataclass(frozen=True)
class Swap:
    """Two models whose order is another: `ahead` was behind under equal settings."""

    ahead: str
    behind: str
    equal: Verdict  # of `ahead` against `behind`
    tuned: Verdict


@dataclass(frozen=True)
class Effort:
    """A tuned comparison, the one of equal settings, and what changes; the models are those finished in both."""

    tuned: Comparison
    equal: Comparison
    gains: tuple[Gain, ...]
    pairs: int
    swaps: tuple[Swap, ...]

    @property
    def reversed_by_more_than_chance(self) -> list[Swap]:
        """Those whose order is told apart under both, the other way round."""
        return [one for one in self.swaps if one.equal.outcome == "worse" and one.tuned.outcome == "better"]


def efforts(comparisons: Sequence[Comparison]) -> list[Effort]:
    """Of each tuned comparison that has one of equal settings beside it, on the same pictures and run the same way."""
    found = []
    for tuned in comparisons:
        if _is_tuned(tuned):
            terms = terms_of(tuned.first).compared
            for equal in comparisons:
                own = terms_of(equal.first).compared
                alike = (own.data, own.way) == (terms.data, terms.way) and _untuned(equal) == _untuned(tuned)
                if alike and not _is_tuned(equal) and (effort := _effort(tuned, equal)):
                    found.append(effort)
    return found


def _is_tuned(comparison: Comparison) -> bool:
    tuning = comparison.first.protocol.settings.get("tuning") or {}
    return bool(tuning.get("learning_rates") or tuning.get("weight_decays"))


def _untuned(comparison: Comparison) -> str:
    """The fingerprint of all its settings but the tuning."""
    return fingerprint_of({key: one for key, one in comparison.first.protocol.settings.items() if key != "tuning"})


def _effort(tuned: Comparison, equal: Comparison) -> Effort | None:
    places = {one.model: place for place, one in enumerate(equal.finished)}
    both = [(place, places[one.model]) for place, one in enumerate(tuned.finished) if one.model in places]
    if not both:
        return None
    contenders = [one for place, other in both for one in (tuned.finished[place], equal.finished[other])]
    same = Verdicts(contenders, [(at, at + 1) for at in range(0, len(contenders), 2)]).on(ACCURACY)
    gains = [
        Gain(one.model, same.between(2 * number, 2 * number + 1), *_tried(one))
        for number, one in enumerate(tuned.finished[place] for place, _ in both)
    ]
    after, before = Verdicts.of(tuned).on(ACCURACY), Verdicts.of(equal).on(ACCURACY)
    swaps = []
    for (one, was_one), (other, was_other) in combinations(both, 2):
        now, then = after.between(one, other), before.between(was_one, was_other)
        if (now.value or 0) * (then.value or 0) < 0:
            if (now.value or 0) < 0:
                one, other, now, then = other, one, now.turned(), then.turned()
            swaps.append(Swap(tuned.finished[one].model, tuned.finished[other].model, then, now))
    return Effort(tuned, equal, tuple(gains), len(both) * (len(both) - 1) // 2, tuple(swaps))


def _tried(contender: Contender) -> tuple[tuple[tuple[float, float | None], ...], int]:
    """What the finished trials chose, and the most tries of any."""
    found = [(trial.record.training and trial.record.training.tuning) or {} for trial in contender.finished]
    chosen = tuple((one["chosen"], one.get("chosen_weight_decay")) for one in found if "chosen" in one)
    return chosen, max((len(one.get("tries", ())) for one in found), default=0)

"""Checks of accuracies and parameters, against the trials of comparisons.

`under` names settings that a comparison must have: see evidence.setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.records.comparison import Comparison, Contender
from bench.records.evidence import Evidence, Outcome, Verdict
from bench.records.model_names import is_same
from bench.records.quantities import BY_KEY
from bench.records.trainable import FOLDER as TRAINABLE
from bench.report.claims.checks.answers import Check, answered, gravest
from bench.report.judge.intervals import SEEDS, Estimate, estimate
from bench.report.judge.verdict import Verdict as AccuracyVerdict
from bench.report.judge.verdict import Verdicts
from bench.report.text.verdicts import evidence as evidence_of
from bench.report.text.verdicts import gap


@dataclass(frozen=True)
class _Answer:
    """What one comparison says, and over how many seeds."""

    verdict: Verdict
    seeds: int


def trains(model: str, parameters: int, *, under: Mapping[str, Any], command: str) -> Check:
    """The model has exactly so many trainable parameters: as counted without training, or in trials, failed ones too.

    `python -m bench models --trainable` counts them.
    """

    def check(evidence: Evidence) -> Verdict:
        found = {
            f"counted under {one.protocol}": one.trainable_params
            for one in evidence.trainable
            if is_same(one.model, model) and one.agrees(under)
        }
        places = [TRAINABLE] if found else []
        for comparison, contenders in evidence.compared([model], under):
            counts = {trial.record.model.trainable_params for trial in contenders[0].trials} - {None}
            found |= {f"in {comparison.name}": count for count in counts if count}
            places += [comparison.folder.name] if counts else []
        if not found:
            return _nothing_run([model], under, command)
        numbers = "; ".join(f"{count:,} {where}" for where, count in found.items())
        return answered(set(found.values()) == {parameters}, numbers, places=places)

    return check


def reaches(
    model: str, top1: float, *, quantity: str = "accuracy", within: float, under: Mapping[str, Any], command: str
) -> Check:
    """The model's `accuracy` or `val_accuracy` (%) is the published one, up to `within` points.

    The 95 % interval over seeds lies within that (confirmed), beyond it (not reproduced), or on both sides
    (undecided). Fewer than three seeds have no such interval, and decide nothing.
    """

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> _Answer | None:
        found = estimate(BY_KEY[quantity], contenders[0])
        if found is None:
            return None
        seeds = len(found.values)
        away = f"{found.mean - top1:+.2f}".replace("-", "−")
        where = f"% in {comparison.name}, {_seeds(found)}: {away} points"
        if seeds < SEEDS or found.low is None or found.high is None:
            text = f"{found.mean:.2f} {where}; three seeds would tell how far seeds move it"
            return _Answer(Verdict("undecided", text), seeds)
        numbers = f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] {where}"
        return _Answer(Verdict(_within(found.low - top1, found.high - top1, within), numbers), seeds)

    return _in_comparisons([model], under, command, one)


def trains_less_and_is_better(model: str, baseline: str, *, under: Mapping[str, Any], command: str) -> Check:
    """The model has fewer trainable parameters than the baseline, and more test top-1 by more than chance."""

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> _Answer | None:
        ours, theirs = (contender.first.model.trainable_params for contender in contenders)
        found = _difference(comparison, *contenders)
        if found is None or ours is None or theirs is None:
            return None
        numbers = (
            f"{ours / 1e6:.2f} M against {theirs / 1e6:.2f} M trainable parameters, {_said(found)} in {comparison.name}"
        )
        outcome = "refuted" if ours >= theirs else _better(found, "refuted")
        return _Answer(Verdict(outcome, numbers), found.seeds)

    return _in_comparisons([model, baseline], under, command, one)


def loses_no_accuracy(
    models: Sequence[str], baseline: str, *, margin: float, under: Mapping[str, Any], command: str
) -> Check:
    """Each model's test top-1 is at most `margin` points below the baseline's, and its MACs are fewer.

    An equivalence test on one side: the 95 % interval of the paired difference lies above minus the margin
    (confirmed), below it (not reproduced), or on both sides (undecided).
    """

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> _Answer | None:
        *ours, base = contenders
        outcomes, numbers, seeds = [], [], []
        for own in ours:
            found, share = _difference(comparison, own, base), _share_of_macs(own, base)
            if found is None or share is None:
                return None
            outcomes.append("not reproduced" if share >= 1 else _no_loss(found, margin))
            numbers.append(f"{own.model} {_of_macs(share)}, {_said(found)}")
            seeds.append(found.seeds)
        said = f"against {base.model}: {'; '.join(numbers)} in {comparison.name}"
        return _Answer(replace(gravest([Verdict(outcome, "") for outcome in outcomes]), numbers=said), min(seeds))

    return _in_comparisons([*models, baseline], under, command, one)


def is_more_accurate(
    model: str, baseline: str, *, under: Mapping[str, Any], command: str, cheaper: bool = False
) -> Check:
    """The model's test top-1 is higher by more than chance; with `cheaper`, at fewer MACs too."""

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> _Answer | None:
        found, share = _difference(comparison, *contenders), _share_of_macs(*contenders)
        if found is None or (cheaper and share is None):
            return None
        cost = f" at {_of_macs(share)}" if cheaper and share is not None else ""
        dearer = cheaper and share is not None and share >= 1
        outcome = "not reproduced" if dearer else _better(found, "not reproduced")
        return _Answer(Verdict(outcome, f"{_said(found)}{cost} in {comparison.name}"), found.seeds)

    return _in_comparisons([model, baseline], under, command, one)


def _difference(comparison: Comparison, a: Contender, b: Contender) -> AccuracyVerdict | None:
    """A's test top-1 against B's; None where there is no test."""
    if not a.finished or not b.finished:
        return None
    places = [comparison.finished.index(contender) for contender in (a, b)]
    found = Verdicts.of(comparison).on(BY_KEY["accuracy"]).between(*places)
    return None if found.value is None or found.low is None else found


def _said(found: AccuracyVerdict) -> str:
    return f"{gap(BY_KEY['accuracy'], found)} ({evidence_of(found)}) points of test top-1"


def _better(found: AccuracyVerdict, otherwise: Outcome) -> Outcome:
    known: dict[str, Outcome] = {"better": "confirmed", "worse": otherwise}
    return known.get(found.outcome, "undecided")


def _no_loss(found: AccuracyVerdict, margin: float) -> Outcome:
    if found.low is None or found.high is None or found.low <= -margin <= found.high:
        return "undecided"
    return "confirmed" if found.low > -margin else "not reproduced"


def _share_of_macs(own: Contender, base: Contender) -> float | None:
    found = own.first.measured.macs, base.first.measured.macs
    return found[0] / found[1] if found[0] and found[1] else None


def _of_macs(share: float) -> str:
    return f"{100 * share:.0f} % of the MACs"


def _within(low: float, high: float, margin: float) -> Outcome:
    """Of an interval around the published value."""
    if -margin <= low and high <= margin:
        return "confirmed"
    return "not reproduced" if low > margin or high < -margin else "undecided"


def _in_comparisons(
    models: Sequence[str],
    under: Mapping[str, Any],
    command: str,
    one: Callable[[Comparison, Sequence[Contender]], _Answer | None],
) -> Check:
    """Put the question to every comparison that has the models under those settings; the gravest answer decides.

    One seed speaks of trained networks, not of models: where there are more, those of one seed are not asked, and
    where there are not, it is undecided.
    """

    def check(evidence: Evidence) -> Verdict:
        answers = [
            _Answer(replace(answer.verdict, places=(comparison.folder.name,)), answer.seeds)
            for comparison, contenders in evidence.compared(models, under)
            if (answer := one(comparison, contenders)) is not None
        ]
        if not answers:
            return _nothing_run(models, under, command)
        several = [answer.verdict for answer in answers if answer.seeds > 1]
        found = gravest(several or [replace(answer.verdict, outcome="undecided") for answer in answers])
        return replace(found, command=command) if found.outcome == "undecided" else found

    return check


def _nothing_run(models: Sequence[str], under: Mapping[str, Any], command: str) -> Verdict:
    conditions = ", ".join(f"{key} = {value}" for key, value in under.items())
    with_them = f" with {conditions}" if conditions else ""
    return Verdict("not testable", f"no such trials of {' and '.join(models)}{with_them}", command)


def _seeds(found: Estimate) -> str:
    return "one seed" if len(found.values) == 1 else f"mean of {len(found.values)} seeds"

"""Checks of accuracies and parameters, against the trials of comparisons.

`under` names settings that a comparison must have: see evidence.setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.records.comparison import Comparison, Contender
from bench.records.evidence import Evidence, Outcome, Verdict
from bench.records.quantities import BY_KEY
from bench.report.claims.checks.answers import Check, answered
from bench.report.judge.intervals import Estimate, estimate
from bench.report.judge.verdict import Verdict as AccuracyVerdict
from bench.report.judge.verdict import Verdicts
from bench.report.text.verdicts import evidence as evidence_of
from bench.report.text.verdicts import gap

GRAVEST: tuple[Outcome, ...] = ("refuted", "not reproduced", "undecided", "confirmed")


def trains(model: str, parameters: int, *, under: Mapping[str, Any], command: str) -> Check:
    """The model has exactly so many trainable parameters: as counted without training, or in trials, failed ones too.

    `python -m bench models --trainable` counts them.
    """

    def check(evidence: Evidence) -> Verdict:
        found = {
            f"counted under {one.protocol}": one.trainable_params
            for one in evidence.trainable
            if one.model == model and one.agrees(under)
        }
        for comparison, contenders in evidence.compared([model], under):
            counts = {trial.record.model.trainable_params for trial in contenders[0].trials} - {None}
            found |= {f"in {comparison.name}": count for count in counts if count}
        if not found:
            return _nothing_run([model], under, command)
        numbers = "; ".join(f"{count:,} {where}" for where, count in found.items())
        return answered(set(found.values()) == {parameters}, numbers)

    return check


def reaches(
    model: str, top1: float, *, quantity: str = "accuracy", within: float, under: Mapping[str, Any], command: str
) -> Check:
    """The model's `accuracy` or `val_accuracy` (%) is the published one, up to `within` points.

    Its 95 % interval lies within that (confirmed), beyond it (not reproduced), or on both sides (undecided).
    """

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> Verdict | None:
        found = estimate(BY_KEY[quantity], contenders[0])
        if found is None:
            return None
        away = f"{found.mean - top1:+.2f}".replace("-", "−")
        low, high = (found.mean, found.mean) if found.low is None or found.high is None else (found.low, found.high)
        numbers = f"{found.mean:.2f} [{low:.2f}, {high:.2f}] % in {comparison.name}, {_seeds(found)}: {away} points"
        return Verdict(_within(low - top1, high - top1, within), numbers)

    return _in_comparisons([model], under, command, one)


def trains_less_and_is_better(model: str, baseline: str, *, under: Mapping[str, Any], command: str) -> Check:
    """The model has fewer trainable parameters than the baseline, and more test top-1 by more than chance."""

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> Verdict | None:
        ours, theirs = contenders
        counts = ours.first.model.trainable_params, theirs.first.model.trainable_params
        if not ours.finished or not theirs.finished or counts[0] is None or counts[1] is None:
            return None
        places = [comparison.finished.index(contender) for contender in contenders]
        found = Verdicts.of(comparison).on(BY_KEY["accuracy"]).between(*places)
        if found.low is None or found.value is None:
            return None
        numbers = (
            f"{counts[0] / 1e6:.2f} M against {counts[1] / 1e6:.2f} M trainable parameters, "
            f"{gap(BY_KEY['accuracy'], found)} points of test top-1 in {comparison.name}, {evidence_of(found)}"
        )
        if counts[0] >= counts[1] or found.outcome == "worse":
            return Verdict("refuted", numbers)
        return Verdict("confirmed" if found.outcome == "better" else "undecided", numbers)

    return _in_comparisons([model, baseline], under, command, one)


def loses_no_accuracy(
    models: Sequence[str], baseline: str, *, margin: float, under: Mapping[str, Any], command: str
) -> Check:
    """Each model's test top-1 is at most `margin` points below the baseline's, and its MACs are fewer.

    An equivalence test on one side: the 95 % interval of the paired difference lies above minus the margin
    (confirmed), below it (not reproduced), or on both sides (undecided).
    """

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> Verdict | None:
        *ours, base = contenders
        found = [_difference(comparison, own, base) for own in ours]
        if any(low is None for _, low, _ in found):
            return None
        costs = [_macs_of(own, base) for own in ours]
        numbers = "; ".join(
            f"{own.model} {cost}, {said} points" for own, cost, (said, _, _) in zip(ours, costs, found, strict=True)
        )
        lows = [low for _, low, _ in found if low is not None]
        highs = [high for _, _, high in found if high is not None]
        if min(highs) < -margin:
            outcome: Outcome = "not reproduced"
        else:
            outcome = "confirmed" if min(lows) > -margin else "undecided"
        return Verdict(outcome, f"against {base.model}: {numbers} of test top-1 in {comparison.name}")

    return _in_comparisons([*models, baseline], under, command, one)


def is_more_accurate(
    model: str, baseline: str, *, under: Mapping[str, Any], command: str, cheaper: bool = False
) -> Check:
    """The model's test top-1 is higher by more than chance; with `cheaper`, at fewer MACs too."""

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> Verdict | None:
        ours, base = contenders
        said, low, _ = _difference(comparison, ours, base)
        if low is None:
            return None
        outcome = _judged(comparison, ours, base).outcome
        found: dict[str, Outcome] = {"better": "confirmed", "worse": "not reproduced"}
        verdict = found.get(outcome, "undecided")
        own, whole = (contender.first.measured.macs for contender in (ours, base))
        if cheaper and (own is None or whole is None or own >= whole):
            verdict = "not reproduced"
        cost = f" at {_macs_of(ours, base)}" if cheaper else ""
        return Verdict(verdict, f"{said} points of test top-1{cost} in {comparison.name}")

    return _in_comparisons([model, baseline], under, command, one)


def _judged(comparison: Comparison, a: Contender, b: Contender) -> AccuracyVerdict:
    places = [comparison.finished.index(contender) for contender in (a, b)]
    return Verdicts.of(comparison).on(BY_KEY["accuracy"]).between(*places)


def _difference(comparison: Comparison, a: Contender, b: Contender) -> tuple[str, float | None, float | None]:
    """A minus B in words, and its interval; None where there is no test."""
    if not a.finished or not b.finished:
        return "", None, None
    found = _judged(comparison, a, b)
    if found.value is None or found.low is None or found.seeds < 2:  # one seed says nothing of models
        return "", None, None
    return f"{gap(BY_KEY['accuracy'], found)} ({evidence_of(found)})", found.low, found.high


def _macs_of(own: Contender, base: Contender) -> str:
    found = own.first.measured.macs, base.first.measured.macs
    if not found[0] or not found[1]:
        return "MACs not counted"
    return f"{100 * found[0] / found[1]:.0f} % of the MACs"


def _within(low: float, high: float, margin: float) -> Outcome:
    """Of an interval around the published value."""
    if -margin <= low and high <= margin:
        return "confirmed"
    return "not reproduced" if low > margin or high < -margin else "undecided"


def _in_comparisons(
    models: Sequence[str],
    under: Mapping[str, Any],
    command: str,
    one: Callable[[Comparison, Sequence[Contender]], Verdict | None],
) -> Check:
    """Put the question to every comparison that has the models under those settings; the gravest answer decides."""

    def check(evidence: Evidence) -> Verdict:
        answers = [
            answer
            for comparison, contenders in evidence.compared(models, under)
            if (answer := one(comparison, contenders)) is not None
        ]
        for outcome in GRAVEST:
            if any(answer.outcome == outcome for answer in answers):
                numbers = "; ".join(answer.numbers for answer in answers)
                return Verdict(outcome, numbers, command if outcome == "undecided" else "")
        return _nothing_run(models, under, command)

    return check


def _nothing_run(models: Sequence[str], under: Mapping[str, Any], command: str) -> Verdict:
    conditions = ", ".join(f"{key} = {value}" for key, value in under.items())
    with_them = f" with {conditions}" if conditions else ""
    return Verdict("not testable", f"no such trials of {' and '.join(models)}{with_them}", command)


def _seeds(found: Estimate) -> str:
    return "one seed" if len(found.values) == 1 else f"mean of {len(found.values)} seeds"

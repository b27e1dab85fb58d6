"""Ready-made checks of claims, for plugins too: each takes the claim's numbers and gives a function of the evidence.

A check is a pure function of Evidence. `under` names settings that a comparison must have: see evidence.setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.records.comparison import Comparison, Contender
from bench.records.evidence import Evidence, Verdict
from bench.records.machine import same_machine
from bench.records.measurement import Measurement
from bench.records.quantities import BY_KEY
from bench.report.judge.intervals import Estimate, estimate
from bench.report.judge.verdict import Verdicts
from bench.report.text.verdicts import evidence as evidence_of
from bench.report.text.verdicts import gap

Check = Callable[[Evidence], Verdict]

# The operators that FDViT's authors, as many papers, count: no attention products, no normalisation.
LAYERS_ONLY = ("conv", "linear")


def counts_are(
    model: str,
    published: Mapping[str, float],
    *,
    image_size: int = 224,
    tolerance: float = 0.01,
    decimals: int = 2,
    operators: Sequence[str] = (),
    left_out: Mapping[str, Any] | None = None,
) -> Check:
    """`params` (M), `gmacs` and `activations` (M) of a measured model are those published.

    They agree within `tolerance` of the published value, or within half of its last of `decimals` figures. GMACs are
    of `operators` alone where any are named. `left_out` (params, macs, activations, what) is what the published model
    has and bench's has not; it is added to ours.
    """

    def check(evidence: Evidence) -> Verdict:
        found = evidence.measured(model, image_size)
        if found is None:
            return _not_measured([model], image_size)
        extra = left_out or {}
        ours = {
            "params": ((found.model["params"] or 0) + extra.get("params", 0)) / 1e6,
            "gmacs": (macs(found, operators) + extra.get("macs", 0)) / 1e9,
            "activations": ((found.efficiency.activations or 0) + extra.get("activations", 0)) / 1e6,
        }
        units = {"params": "M parameters", "gmacs": "GMACs", "activations": "M activations"}
        holds = all(
            abs(ours[key] - value) <= max(tolerance * value, 0.5 * 10**-decimals) for key, value in published.items()
        )
        numbers = "; ".join(
            f"{ours[key]:.{max(decimals, 2)}f} {units[key]} ({_percent(ours[key] / value - 1)})"
            for key, value in published.items()
        )
        counted = f", counting {' and '.join(operators)} alone" if operators else ""
        added = f", with {extra['what']} added, which bench leaves out" if extra else ""
        return _verdict(holds, f"{numbers}{counted}{added}")

    return check


def computes_less(
    models: Sequence[str],
    baseline: str,
    share: float,
    *,
    tolerance: float = 0.01,
    at_least: bool = False,
    operators: Sequence[str] = (),
    baseline_operators: Sequence[str] = (),
) -> Check:
    """The first of `models` that was measured takes that share less MACs than the baseline, within `tolerance`.

    With `at_least`, the one that saves most counts, and more will do; where all save less, another might save enough.
    A name that ends in `*` stands for all models that begin so. MACs are of the named operators alone, if any.
    """

    def check(evidence: Evidence) -> Verdict:
        base = evidence.measured(baseline)
        found = [one for name in models for one in _measured(evidence, name)]
        if base is None or not found:
            return _not_measured([*(() if found else models[:1]), *(() if base else [baseline])], 224)
        whole = macs(base, baseline_operators)
        one = min(found, key=lambda one: macs(one, operators)) if at_least else found[0]
        saved = 1 - macs(one, operators) / whole
        numbers = (
            f"{one.model['name']} {macs(one, operators) / 1e9:.2f} GMACs{_counting(operators)}, {baseline} "
            f"{whole / 1e9:.2f} GMACs{_counting(baseline_operators)}: {_percent(saved, sign=False)} saved"
        )
        if at_least and saved < share - tolerance:
            return Verdict("not testable", f"{numbers}, the most of those measured", _measure_command(models[:1]))
        return _verdict(at_least or abs(saved - share) <= tolerance, numbers)

    return check


def trains(model: str, parameters: int, *, under: Mapping[str, Any], command: str) -> Check:
    """The model has exactly so many trainable parameters; a trial that failed later counts, too."""

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> Verdict | None:
        counts = {trial.record.model.trainable_params for trial in contenders[0].trials} - {None}
        if not counts:
            return None
        written = " and ".join(f"{count:,}" for count in sorted(filter(None, counts)))
        return _verdict(counts == {parameters}, f"{written} in {comparison.name}")

    return _in_comparisons([model], under, command, one)


def reaches(
    model: str, top1: float, *, quantity: str = "accuracy", within: float, under: Mapping[str, Any], command: str
) -> Check:
    """The model's `accuracy` or `val_accuracy` (%) is the published one, up to `within` points."""

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> Verdict | None:
        found = estimate(BY_KEY[quantity], contenders[0])
        if found is None:
            return None
        away = f"{found.mean - top1:+.2f}".replace("-", "−")
        numbers = f"{found.mean:.2f} % in {comparison.name}, {_seeds(found)}: {away} points"
        return _verdict(abs(found.mean - top1) <= within, numbers)

    return _in_comparisons([model], under, command, one)


def takes_longer(
    model: str, baseline: str, factor: float, *, tolerance: float, under: Mapping[str, Any], command: str
) -> Check:
    """An epoch of the model takes `factor` times the baseline's, within `tolerance` of it.

    Only where every picture went through the whole model at every epoch, on one machine: a frozen part's features
    that are computed once make epochs that say nothing of the model.
    """

    def one(comparison: Comparison, contenders: Sequence[Contender]) -> Verdict | None:
        records = [trial.record for contender in contenders for trial in contender.finished]
        prefix = [(record.training.frozen_prefix or {}).get("used") for record in records if record.training]
        if not records:
            return None
        first, *others = records
        one_machine = all(same_machine(first.environment, other.environment) for other in others)
        times = [estimate(BY_KEY["epoch_seconds"], contender) for contender in contenders]
        if any(prefix) or not one_machine or times[0] is None or times[1] is None:
            return None
        ratio = times[0].mean / times[1].mean
        numbers = (
            f"{times[0].mean:.1f} s against {times[1].mean:.1f} s an epoch in {comparison.name}: {ratio:.2f} times"
        )
        return _verdict(abs(ratio / factor - 1) <= tolerance, numbers)

    also = ", on one machine, every picture through the whole model at every epoch"
    return _in_comparisons([model, baseline], under, command, one, also)


def steps_take_longer(model: str, baseline: str, factor: float, *, tolerance: float, image_size: int = 224) -> Check:
    """A measured training step of the model takes `factor` times the baseline's, within `tolerance` of it."""

    def check(evidence: Evidence) -> Verdict:
        pairs = [
            (one, other)
            for one in evidence.measurements
            for other in evidence.measurements
            if (one.model["name"], other.model["name"]) == (model, baseline)
            and one.settings == other.settings
            and one.settings["image_size"] == image_size
            and same_machine(one.environment, other.environment)
            and one.efficiency.train_step
            and other.efficiency.train_step
        ]
        if not pairs:
            command = f"python -m bench measure {model} {baseline} --image-size {image_size}"
            return Verdict("not testable", f"no training step of {model} and {baseline} measured alike", command)
        times = [[_step_seconds(one) for one in pair] for pair in pairs]
        ratios = [own / base for own, base in times]
        numbers = "; ".join(
            f"{own:.2f} s against {base:.2f} s a step of {pair[0].settings['train_batch']} pictures on "
            f"{pair[0].environment.get('device')}: {ratio:.2f} times"
            for pair, (own, base), ratio in zip(pairs, times, ratios, strict=True)
        )
        return _verdict(all(abs(ratio / factor - 1) <= tolerance for ratio in ratios), numbers)

    return check


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
        if found.outcome == "better":
            return Verdict("confirmed", numbers)
        return Verdict("not testable", f"{numbers}: more seeds would tell", command)

    return _in_comparisons([model, baseline], under, command, one)


def _step_seconds(one: Measurement) -> float:
    step = one.efficiency.train_step
    assert step is not None and step.seconds is not None  # chosen for it
    return step.seconds


def macs(one: Measurement, operators: Sequence[str] = ()) -> int:
    """Its MACs, or those of the named operators alone."""
    by_operator = one.efficiency.macs_by_operator or {}
    return int(sum(by_operator.get(name, 0) for name in operators) if operators else one.efficiency.macs or 0)


def _in_comparisons(
    models: Sequence[str],
    under: Mapping[str, Any],
    command: str,
    one: Callable[[Comparison, Sequence[Contender]], Verdict | None],
    also: str = "",
) -> Check:
    """Put the question to every comparison that has the models under those settings; one that refutes decides."""

    def check(evidence: Evidence) -> Verdict:
        answers = [
            answer
            for comparison, contenders in evidence.compared(models, under)
            if (answer := one(comparison, contenders)) is not None
        ]
        for outcome in ("refuted", "confirmed", "not testable"):
            if any(answer.outcome == outcome for answer in answers):
                numbers = "; ".join(answer.numbers for answer in answers)
                return Verdict(outcome, numbers, command if outcome == "not testable" else "")
        conditions = ", ".join(f"{key} = {value}" for key, value in under.items())
        return Verdict("not testable", f"no such trials of {' and '.join(models)} with {conditions}{also}", command)

    return check


def _measured(evidence: Evidence, name: str) -> list[Measurement]:
    if name.endswith("*"):
        names = sorted({one.model["name"] for one in evidence.measurements if one.model["name"].startswith(name[:-1])})
    else:
        names = [name]
    return [found for one in names if (found := evidence.measured(one)) is not None]


def _not_measured(models: Sequence[str], image_size: int) -> Verdict:
    numbers = f"{' and '.join(models)}: not measured at {image_size} pixels and 1,000 classes"
    return Verdict("not testable", numbers, _measure_command(models, image_size))


def _measure_command(models: Sequence[str], image_size: int = 224) -> str:
    size = "" if image_size == 224 else f" --image-size {image_size}"
    return f"python -m bench measure {' '.join(models)} --only macs{size}"


def _verdict(holds: bool, numbers: str) -> Verdict:
    return Verdict("confirmed" if holds else "refuted", numbers)


def _counting(operators: Sequence[str]) -> str:
    return f" of {' and '.join(operators)}" if operators else ""


def _percent(share: float, sign: bool = True) -> str:
    value = round(100 * share, 1) + 0.0  # no minus before a nought
    return f"{value:{'+' if sign else ''}.1f} %".replace("-", "−")


def _seeds(found: Estimate) -> str:
    return "one seed" if len(found.values) == 1 else f"mean of {len(found.values)} seeds"

"""Ready-made checks of claims, for plugins too: each takes the claim's numbers and gives a function of the evidence.

A check is a pure function of Evidence. `under` names settings that a comparison must have: see evidence.setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.records.comparison import Comparison, Contender
from bench.records.evidence import Evidence, Outcome, Verdict
from bench.records.machine import same_machine
from bench.records.measurement import Measurement
from bench.records.quantities import BY_KEY
from bench.report.judge.intervals import Estimate, estimate
from bench.report.judge.verdict import Verdict as AccuracyVerdict
from bench.report.judge.verdict import Verdicts
from bench.report.text.verdicts import evidence as evidence_of
from bench.report.text.verdicts import gap

Check = Callable[[Evidence], Verdict]

# The operators that FDViT's authors, as many papers, count: no attention products, no normalisation.
LAYERS_ONLY = ("conv", "linear")
GRAVEST: tuple[Outcome, ...] = ("refuted", "not reproduced", "undecided", "confirmed")


def counts_are(
    model: str,
    published: Mapping[str, float],
    *,
    image_size: int = 224,
    tolerance: float = 0.01,
    decimals: int = 2,
    operators: Sequence[str] = (),
    left_out: Mapping[str, Any] | None = None,
    rebuilt: bool = False,
) -> Check:
    """`params` (M), `gmacs` and `activations` (M) of a measured model are those published.

    They agree within `tolerance` of the published value, or within half of its last of `decimals` figures. GMACs are
    of `operators` alone where any are named. `left_out` (params, macs, activations, what) is what the published model
    has and bench's has not; it is added to ours. `rebuilt`: the model is bench's own, after the paper; where it
    differs nothing is refuted.
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
        rounds = {key: round(ours[key], decimals) == value for key, value in published.items()}
        holds = all(rounds[key] or abs(ours[key] - value) <= tolerance * value for key, value in published.items())
        numbers = "; ".join(
            f"{ours[key]:.{max(decimals, 2)}f} {units[key]} "
            + (f"(rounds to {value:.{decimals}f})" if rounds[key] else f"({_percent(ours[key] / value - 1)})")
            for key, value in published.items()
        )
        counted = f", counting {' and '.join(operators)} alone" if operators else ""
        added = f", with {extra['what']} added, which bench leaves out" if extra else ""
        return _verdict(holds, f"{numbers}{counted}{added}", "not reproduced" if rebuilt else "refuted")

    return check


def computes_less(
    models: Sequence[str], baseline: str, share: float, *, tolerance: float = 0.01, at_least: bool = False
) -> Check:
    """The first of `models` that was measured takes that share less MACs than the baseline, within `tolerance`.

    With `at_least`, the one that saves most counts, and more will do; where even that one saves less, the claim is
    refuted. A name that ends in `*` stands for all models that begin so.
    """

    def check(evidence: Evidence) -> Verdict:
        base = evidence.measured(baseline)
        by_name = {one.model["name"]: one for name in models for one in _measured(evidence, name)}
        found = list(by_name.values())
        if base is None or not found:
            return _not_measured([*(() if found else models[:1]), *(() if base else [baseline])], 224)
        one = min(found, key=macs) if at_least else found[0]
        saved, numbers = _saved(one, base)
        if at_least:
            return _verdict(saved >= share - tolerance, f"{numbers}, the most of {len(found)} measured")
        return _verdict(abs(saved - share) <= tolerance, numbers)

    return check


def saves_by_a_count(
    model: str,
    baseline: str,
    share: float,
    counts: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    *,
    tolerance: float = 0.01,
) -> Check:
    """The model takes that share less MACs than the baseline by the first of `counts`, the source's own.

    A count names the operators that are counted of the model and of the baseline; none named: all. The other counts
    are said beside it, since they say what the figure means.
    """

    def check(evidence: Evidence) -> Verdict:
        ours, base = evidence.measured(model), evidence.measured(baseline)
        if ours is None or base is None:
            return _not_measured([model, baseline], 224)
        found = {name: _saved(ours, base, *operators)[0] for name, operators in counts.items()}
        numbers = "; ".join(f"{name}: {_percent(saved, sign=False)} saved" for name, saved in found.items())
        holds = abs(next(iter(found.values())) - share) <= tolerance
        return _verdict(holds, numbers, "not reproduced")

    return check


def _saved(
    one: Measurement, base: Measurement, operators: Sequence[str] = (), of_base: Sequence[str] = ()
) -> tuple[float, str]:
    """The share of the baseline's MACs that the model saves, and the numbers."""
    own, whole = macs(one, operators), macs(base, of_base)
    saved = 1 - own / whole
    numbers = (
        f"{one.model['name']} {own / 1e9:.2f} GMACs{_counting(operators)}, {base.model['name']} {whole / 1e9:.2f} "
        f"GMACs{_counting(of_base)}: {_percent(saved, sign=False)} saved"
    )
    return saved, numbers


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
        return _verdict(set(found.values()) == {parameters}, numbers)

    return check


def lacks(why: str) -> Check:
    """Of a claim on what bench cannot run at all: not testable, and no command would."""
    return lambda evidence: Verdict("not testable", why)


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


def steps_take_longer(
    model: str, baseline: str, factor: float, *, tolerance: float, image_size: int = 224, baseline_size: int = 224
) -> Check:
    """A measured training step of the model takes `factor` times the baseline's, within `tolerance` of it.

    Each at its own image size, with batches of as many pictures, on one machine. Where both were only measured at the
    model's size, those are other conditions than the source's.
    """

    def check(evidence: Evidence) -> Verdict:
        as_published = _step_ratios(evidence, model, baseline, image_size, baseline_size)
        alike = _step_ratios(evidence, model, baseline, image_size, image_size) if baseline_size != image_size else {}
        numbers = "; ".join([*as_published, *alike])
        if as_published:
            holds = all(abs(ratio / factor - 1) <= tolerance for ratio in as_published.values())
            return _verdict(holds, numbers, "not reproduced")
        command = (
            f"python -m bench measure {baseline} --image-size {baseline_size} --only step\n"
            f"python -m bench measure {model} --image-size {image_size} --only step"
        )
        if alike:
            return Verdict("other conditions", numbers, command)
        return Verdict("not testable", f"no training step of {model} and {baseline} measured on one machine", command)

    return check


def _step_ratios(
    evidence: Evidence, model: str, baseline: str, image_size: int, baseline_size: int
) -> dict[str, float]:
    """By the numbers in words, each ratio of two measured steps."""
    found = {}
    for one in evidence.measurements:
        for other in evidence.measurements:
            names = one.model["name"], other.model["name"]
            sizes = one.settings["image_size"], other.settings["image_size"]
            if (names, sizes) != ((model, baseline), (image_size, baseline_size)):
                continue
            same = ("train_batch", "precision", "classes", "compile")
            alike = all(one.settings.get(key) == other.settings.get(key) for key in same)
            own, base = (each.efficiency.train_step for each in (one, other))
            if not alike or not same_machine(one.environment, other.environment) or not own or not base:
                continue
            if own.seconds and base.seconds:
                said = (
                    f"{own.seconds:.2f} s at {image_size} pixels against {base.seconds:.3g} s at {baseline_size}, a "
                    f"step of {one.settings['train_batch']} pictures on {one.environment.get('device')}: "
                    f"{own.seconds / base.seconds:.2f} times"
                )
                found[said] = own.seconds / base.seconds
    return found


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


def macs(one: Measurement, operators: Sequence[str] = ()) -> int:
    """Its MACs, or those of the named operators alone."""
    by_operator = one.efficiency.macs_by_operator or {}
    return int(sum(by_operator.get(name, 0) for name in operators) if operators else one.efficiency.macs or 0)


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


def _verdict(holds: bool, numbers: str, otherwise: Outcome = "refuted") -> Verdict:
    return Verdict("confirmed" if holds else otherwise, numbers)


def _counting(operators: Sequence[str]) -> str:
    return f" of {' and '.join(operators)}" if operators else ""


def _percent(share: float, sign: bool = True) -> str:
    value = round(100 * share, 1) + 0.0  # no minus before a nought
    return f"{value:{'+' if sign else ''}.1f} %".replace("-", "−")


def _seeds(found: Estimate) -> str:
    return "one seed" if len(found.values) == 1 else f"mean of {len(found.values)} seeds"

"""Checks of parameters, MACs and activations, against measurements without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.records.evidence import Evidence, Outcome, Verdict
from bench.records.measurement import FOLDER, Measurement
from bench.report.claims.checks.answers import Check, answered

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
        otherwise: Outcome = "not reproduced" if rebuilt else "refuted"
        return answered(holds, f"{numbers}{counted}{added}", otherwise, places=[FOLDER])

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
            numbers += f", the most of {len(found)} measured"
        holds = saved >= share - tolerance if at_least else abs(saved - share) <= tolerance
        return answered(holds, numbers, places=[FOLDER])

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
        return answered(holds, numbers, "not reproduced", places=[FOLDER])

    return check


def macs(one: Measurement, operators: Sequence[str] = ()) -> int:
    """Its MACs, or those of the named operators alone."""
    by_operator = one.efficiency.macs_by_operator or {}
    return int(sum(by_operator.get(name, 0) for name in operators) if operators else one.efficiency.macs or 0)


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


def _counting(operators: Sequence[str]) -> str:
    return f" of {' and '.join(operators)}" if operators else ""


def _percent(share: float, sign: bool = True) -> str:
    value = round(100 * share, 1) + 0.0  # no minus before a nought
    return f"{value:{'+' if sign else ''}.1f} %".replace("-", "−")

"""Checks of times, against measurements without training."""

from __future__ import annotations

from bench.records.evidence import Evidence, Verdict
from bench.records.machine import same_machine
from bench.records.measurement import FOLDER
from bench.report.claims.checks.answers import Check, answered


def steps_take_longer(
    model: str,
    baseline: str,
    factor: float,
    *,
    tolerance: float,
    image_size: int = 224,
    baseline_size: int = 224,
    otherwise: str = "",
) -> Check:
    """A measured training step of the model takes `factor` times the baseline's, within `tolerance` of it.

    Each at its own image size, with batches of as many pictures, on one machine. `otherwise` says what in the source
    no measurement of a step is like: with it, the ratio is said, and neither confirms nor refutes.
    """

    def check(evidence: Evidence) -> Verdict:
        found = _step_ratios(evidence, model, baseline, image_size, baseline_size)
        if not found:
            command = (
                f"python -m bench measure {baseline} --image-size {baseline_size} --only step\n"
                f"python -m bench measure {model} --image-size {image_size} --only step"
            )
            why = f"no training step of {model} and {baseline} measured on one machine"
            return Verdict("not testable", why, command)
        if otherwise:
            return Verdict("other conditions", f"{'; '.join(found)}; {otherwise}", places=(FOLDER,))
        holds = all(abs(ratio / factor - 1) <= tolerance for ratio in found.values())
        return answered(holds, "; ".join(found), "not reproduced", places=[FOLDER])

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

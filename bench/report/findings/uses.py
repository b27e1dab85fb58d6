"""What to choose for which use: of the models that lose little accuracy those that cost least in what the use is about.

A loss of MARGIN is what a user is taken to accept; `python -m bench recommend`, which chooses alike, takes any limit.
"""

from __future__ import annotations

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY
from bench.report.findings.answer import least, tied
from bench.report.judge.recommend import Limit, choose
from bench.report.judge.verdict import Verdicts
from bench.report.text.markup import markdown
from bench.report.text.numbers import counted, label_parts, listed, with_unit
from bench.report.text.verdicts import gap, said

MARGIN = 2.0  # points of top-1 below the best
USES = {
    "Inference on a small device": ("gmacs", "latency_ms", "inference_memory"),
    "Training on a budget": ("step_ms", "memory"),
}
ACCURACY = BY_KEY["accuracy"]


def use_lines(comparison: Comparison) -> list[str]:
    """A line a use; none where there is nothing to choose from."""
    verdicts = Verdicts.of(comparison)
    accuracy = verdicts.on(ACCURACY)
    models = [one.model for one in comparison.finished]
    best = accuracy.order[0] if accuracy.order else 0
    value = accuracy.values[best] if accuracy.order else None
    if value is None or len(accuracy.order) < 2:
        return []
    limit = Limit(ACCURACY, "min", value.mean - MARGIN)
    chosen = choose(comparison, [limit]).chosen
    within = [models.index(one.model) for one in chosen]
    unsure = [one.model for one in chosen if one.doubts]
    ties = listed([models[place] for place in tied(accuracy)])
    alternatives = f", or {ties}, which cannot be told from it" if ties else ""
    lines = [
        f"Accuracy above all: {markdown(models[best])}{alternatives}.",
        f"Where up to {MARGIN:g} points of top-1 may be lost, {counted(len(within), 'model')} may be chosen from: "
        f"{listed([models[place] for place in within])}."
        + (f" By their intervals it is not certain that these keep within it: {listed(unsure)}." if unsure else ""),
    ]
    for use, keys in USES.items():
        shown = []
        for standing in (verdicts.on(BY_KEY[key]) for key in keys):
            cheapest = least(within, standing)
            if not cheapest:
                continue
            place, *others = cheapest
            cost, verdict = standing.values[place], accuracy.between(place, best)
            assert cost is not None  # of a model in `least`
            loss = f", {gap(ACCURACY, verdict)} points, {said(verdict)}" if place != best else ""
            alike = listed([models[other] for other in others])
            shown.append(
                f"least {label_parts(standing.quantity)[0]}: {markdown(models[place])} "
                f"({with_unit(standing.quantity, cost.mean)}{loss})"
                + (f", not to be told in that from {alike}" if alike else "")
            )
        lines.append(f"{use}: {'; '.join(shown) or 'not known, for not all of these were measured side by side'}.")
    return lines

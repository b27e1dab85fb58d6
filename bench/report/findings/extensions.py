"""Which extension pays, which costs, which cannot be told: a sentence a comparison."""

from __future__ import annotations

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY
from bench.report.judge.extended import Change, changes
from bench.report.text.markup import markdown
from bench.report.text.numbers import with_interval
from bench.report.text.titles import title
from bench.report.text.verdicts import ratio_said

SAID = {"pays": "Pays", "costs": "Costs", "cannot tell": "Cannot be told"}


def extensions_answer(comparison: Comparison) -> str:
    """Empty where no extended model stands beside its base."""
    found = changes(comparison)
    if not found:
        return ""
    parts = []
    for outcome, verb in SAID.items():
        own = [_one(comparison, change) for change in found if change.outcome == outcome]
        if own:
            parts.append(f"{verb}: {'; '.join(own)}")
    head = f"**What extensions change in {markdown(title(comparison))}**, each against its own base"
    single = [one.accuracy.seeds == 1 for one in found]
    where = "one seed" if all(single) else "where there is one seed"
    head += f" ({where}: of these trained models)." if any(single) else "."
    return f"{head} {'. '.join(parts)}."


def _one(comparison: Comparison, change: Change) -> str:
    verdict = change.accuracy
    points = "top-1 unknown"
    if verdict.value is not None:
        points = f"{with_interval(BY_KEY['accuracy'], verdict.value, verdict.low, verdict.high, sign=True)} points"
    shown = {key: name for key, name in {"gmacs": "GMACs", "latency_ms": "latency"}.items() if key in change.ratios}
    costs = [f"{name} × {ratio_said(change.ratios[key])}" for key, name in shown.items()]
    return f"{markdown(comparison.finished[change.place].model)} ({', '.join([points, *costs])})"

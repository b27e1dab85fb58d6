"""What `run --plan` prints: the trials that are left, longest first, and when all are done."""

from __future__ import annotations

from tabulate import tabulate

from bench.files import amount
from bench.run.outlook import Outlook, said, trials


def plan_text(plan: Outlook) -> str:
    """A table of the trials, and what follows from it."""
    if not plan.trials:
        return f"nothing is left to run: all {plan.done} trials are recorded in {plan.folder}; --fresh runs them again"
    rows = [
        {
            "model": spec.model,
            "seed": spec.seed,
            "time": "not known" if one.seconds is None else f"{said(one.seconds)} ± {one.share:.0%}",
            "peak memory": "not known" if one.memory is None else amount(one.memory),
            "rests on": one.basis,
        }
        for spec, one in plan.trials
    ]
    at_once = "one at a time" if plan.slots == 1 else f"{plan.slots} at once"
    are = "is" if len(plan.trials) == 1 else "are"
    lines = [f"{trials(len(plan.trials))} {are} left, {at_once}; {plan.done} recorded in {plan.folder}."]
    if plan.unknown < len(plan.trials):
        timing = f", of which timing side by side takes {said(plan.timing)} at most" if plan.timing else ""
        lines.append(f"The whole takes about {said(plan.seconds)} (± {plan.share:.0%}){timing}{plan.besides}.")
    if plan.unknown:
        lines.append(f"Of {trials(plan.unknown)} it is not known how long that takes, which comes on top.")
    lines += plan.too_large
    return "\n".join([tabulate(rows, headers="keys", disable_numparse=True), "", *lines])

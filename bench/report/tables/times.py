"""Times, side by side: of each model what a timing session's clock said, and its ratio to the first model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records.comparison import Comparison
from bench.records.machine import described
from bench.records.quantities import Quantity
from bench.report.judge.times import LEAST
from bench.report.judge.verdict import Standing, Verdicts
from bench.report.tables.comparison import machines, shown
from bench.report.text.markup import Cell, Table, paragraphs, written
from bench.report.text.numbers import counted, label_parts
from bench.report.text.verdicts import DISTURBED, known, said


def timed_quantities(comparison: Comparison) -> list[Quantity]:
    """The quantities that a session has timed for any of the models."""
    verdicts = Verdicts.of(comparison)
    return [one for one in comparison.quantities if one.series and verdicts.on(one).order]


def timed_elsewhere(comparison: Comparison, keys: Sequence[str] | None) -> list[str]:
    """On what sessions timed the columns of a table, beside what its trials ran on; empty where they timed none."""
    wanted = {one.key for one in shown(comparison, keys)[0]}
    if not wanted & {one.key for one in timed_quantities(comparison)}:
        return []
    found = dict.fromkeys(described(kept.session.environment) for kept in comparison.sessions)
    return [one for one in found if one not in machines(comparison)]


def times_table(comparison: Comparison) -> Table:
    """One row a model; of each quantity its value, and the ratio to the first model with the ratio's 95 % interval."""
    quantities, verdicts = timed_quantities(comparison), Verdicts.of(comparison)
    headers = ["model"]
    for one in quantities:
        headers += [one.label, f"× {label_parts(one)[0]}"]
    rows = []
    for place, contender in enumerate(comparison.finished):
        row = [Cell(contender.model)]
        for one in quantities:
            row += [Cell(known(verdicts.on(one), place)), Cell(_ratio(verdicts.on(one), place))]
        rows.append(row)
    return Table(headers, rows)


def times_read(comparison: Comparison) -> list[str]:
    """How to read the table."""
    if not timed_quantities(comparison):
        return []
    sessions = comparison.sessions
    lines = [
        f"×: the ratio to {comparison.finished[0].model}, block by block of rounds in which the models took turns; in "
        f"brackets its 95 % interval over {counted(len(sessions), 'session')}, with at least {LEAST:.1%} between "
        "sessions (one standard deviation). Not corrected for the number of models: the tables' marks are.".replace(
            "%", " %"
        ),
        f"Timed on {described(sessions[-1].session.environment)}.",
    ]
    random = sorted({own.name for kept in sessions for own in kept.session.models if own.weights is None})
    if random:
        lines.append(f"Timed with random weights, since none were kept: {', '.join(random)}.")
    changed = sorted({own.name for kept in sessions for own in kept.session.models if own.code_now})
    if changed:
        lines.append(f"Built for timing by plugins whose code has changed since the training: {', '.join(changed)}.")
    if any(any(Verdicts.of(comparison).on(one).disturbed) for one in timed_quantities(comparison)):
        lines.append(DISTURBED)
    return lines


def times_text(comparison: Comparison) -> str:
    """What `measure --of` prints."""
    if not timed_quantities(comparison):
        return f"{comparison.name}: not timed side by side"
    return "\n\n".join(
        [comparison.name, written(times_table(comparison), "plain"), paragraphs(times_read(comparison), "plain")]
    )


def times_json(comparison: Comparison) -> dict[str, Any]:
    """Values and verdicts against the first model, as plain JSON values."""
    verdicts = Verdicts.of(comparison)
    models = []
    for place, contender in enumerate(comparison.finished):
        own = {one.key: _as_json(verdicts.on(one), place) for one in timed_quantities(comparison)}
        models.append({"model": contender.model, **own})
    return {"comparison": comparison.name, "sessions": len(comparison.sessions), "models": models}


def _as_json(standing: Standing, place: int) -> dict[str, Any] | None:
    value = standing.values[place]
    if value is None:
        return None
    return {
        "value": value.mean,
        "ci95": None if value.low is None else [value.low, value.high],
        "disturbed": standing.disturbed[place] or None,
        "against_first": standing.between(place, 0).to_json(),
    }


def _ratio(standing: Standing, place: int) -> str:
    if place == 0:
        return "1"
    verdict = standing.between(place, 0)
    if verdict.value is None:
        return said(verdict) if standing.values[place] else ""
    interval = "" if verdict.low is None else f" [{verdict.low:.2f}, {verdict.high:.2f}]"
    return f"{verdict.value:.2f}{interval}"

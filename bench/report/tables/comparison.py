"""The comparison of models as a table: a row a model, a column a quantity, the best of each column marked."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from bench.files import trial_folder
from bench.records.comparison import Comparison, Contender, Trial, comparisons
from bench.records.machine import described
from bench.records.quantities import BY_KEY, QUANTITIES, Quantity
from bench.records.record import Record
from bench.report.judge.intervals import Estimate, estimate, half_interval
from bench.report.judge.marks import marks
from bench.report.text.markup import Cell, Style, Table, paragraphs, written

COLUMNS = tuple(quantity.key for quantity in QUANTITIES if quantity.table)
# What `run` prints.
RUN_COLUMNS = tuple(quantity.key for quantity in QUANTITIES if quantity.run_table)


def measured(comparison: Comparison, keys: Sequence[str] = COLUMNS) -> tuple[list[Quantity], list[Quantity]]:
    """The quantities of those keys that at least one model has, and those that none has."""
    asked = [BY_KEY[key] for key in keys]
    found = [one for one in asked if any(estimate(one, contender) for contender in comparison.finished)]
    return found, [one for one in asked if one not in found]


def comparison_table(comparison: Comparison, keys: Sequence[str] = COLUMNS) -> Table:
    """One row a model, best mean test top-1 first; those that never finished last, with the reason.

    Quantities that no model has are left out.
    """
    quantities, _ = measured(comparison, keys)
    failed = any(contender.status != "ok" for contender in comparison.contenders)
    finished = {contender.model: contender for contender in comparison.finished}
    given = {quantity.key: marks(quantity, finished) for quantity in quantities}
    rows = [
        [
            Cell(contender.model),
            *(Cell(_shown(one, contender), given[one.key].get(contender.model, "")) for one in quantities),
            *([Cell(_short(contender.status))] if failed else []),
        ]
        for contender in comparison.contenders
    ]
    headers = ["model", *(quantity.label for quantity in quantities), *(["status"] if failed else [])]
    return Table(headers, rows, frozenset({0, len(quantities) + 1}))


def notes(comparison: Comparison, keys: Sequence[str] = COLUMNS, style: Style = "markdown") -> list[str]:
    """How to read the table: its columns, marks and intervals, what was not measured, and what is in doubt."""
    quantities, missing = measured(comparison, keys)
    lines = [
        "Best mean test top-1 first. Validation chose the epoch; the test pictures were used once, at that epoch's "
        "weights. " + "; ".join(f"{one.label}: {one.about}" for one in quantities) + "."
    ]
    if any(len(contender.finished) > 1 for contender in comparison.finished):
        lines.append("± is half of the 95 % interval of the mean over seeds (Student's t).")
    if len(comparison.finished) > 1:
        best = "*" if style == "plain" else "Bold"
        ties = (
            f"{best}: the best of its column. ≈: no telling it from the best, their 95 % intervals overlap "
            "or they print alike."
        )
        if any(len(contender.finished) == 1 for contender in comparison.finished):
            ties += (
                " Where there is one seed, the interval of a top-1 is Wilson's for so many pictures "
                f"({comparison.first.data.test:,} for testing): it says nothing of what another seed would give."
            )
        lines.append(ties)
    if any(_disturbed(one, contender) for one in quantities for contender in comparison.finished):
        lines.append("†: other work on the machine disturbed the measurement.")
    lines += _disagreements(comparison)
    if missing:
        lines.append(f"not measured: {', '.join(one.label for one in missing)}.")
    return lines


def conditions(comparison: Comparison) -> list[str]:
    """What the trials were made under: data, protocol with its settings, machines."""
    protocol, data = comparison.first.protocol, comparison.first.data
    described = f": {protocol.description}" if protocol.description else ""
    lines = [
        f"Data: {data.name}, {len(data.classes)} classes; {data.train:,} pictures for training, {data.val:,} for "
        f"validation, {data.test:,} for testing; fingerprint {data.fingerprint[:12]}.",
        f"Protocol: {protocol.name}{described}; {_seeds(comparison.seeds)}; fingerprint {protocol.fingerprint[:12]}.",
    ]
    lines += [
        f"{section}: {', '.join(f'{key} = {_value(value)}' for key, value in settings.items())}."
        for section, settings in protocol.settings.items()
        if isinstance(settings, dict)
    ]
    found = machines(comparison)
    if len(found) > 1:
        lines.append("The trials come from several machines, whose times do not compare:")
    for machine, models in found.items():
        of = f" {', '.join(models)}." if len(found) > 1 else ""
        lines.append(f"Machine: {machine}.{of}")
    return lines


def machines(comparison: Comparison) -> dict[str, list[str]]:
    """The machines and versions that the trials were made with, and the models of each."""
    found: dict[str, list[str]] = {}
    for contender in comparison.contenders:
        for trial in contender.trials:
            if trial.record.environment:
                models = found.setdefault(described(trial.record.environment), [])
                models += [contender.model] if contender.model not in models else []
    return dict(sorted(found.items()))


def run_text(folder: Path, records: Sequence[Record]) -> str:
    """What `run` prints: the table of these records, and how to read it."""
    trials = [Trial(trial_folder(folder, record.model.name, record.seed), record) for record in records]
    parts = []
    for comparison in comparisons(trials):
        table = comparison_table(comparison, RUN_COLUMNS)
        parts += [written(table, "plain"), paragraphs(notes(comparison, RUN_COLUMNS, "plain"), "plain")]
    return "\n\n".join(parts) or "no trials"


def comparison_latex(comparison: Comparison) -> bytes:
    """The table, for \\input in a document with the package booktabs, and beneath it how to read it."""
    text = "\n".join(
        [
            "% Made by `python -m bench report` from the records in this folder; needs \\usepackage{booktabs}.",
            written(comparison_table(comparison), "latex"),
            paragraphs([*notes(comparison, style="latex"), *conditions(comparison)], "latex"),
        ]
    )
    return f"{text}\n".encode()


def comparison_csv(comparison: Comparison) -> bytes:
    """Twelve digits of everything: of each quantity the mean, the ends of its 95 % interval, and of how many seeds."""
    quantities, _ = measured(comparison)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [f"{one.key}{part}" for one in quantities for part in ("", "_low", "_high", "_n")]
    writer.writerow(["model", "family", *columns, "status", "protocol_fingerprint", "data_fingerprint"])
    for contender in comparison.contenders:
        first = contender.first
        values = [cell for one in quantities for cell in _csv_cells(estimate(one, contender))]
        fingerprints = [first.protocol.fingerprint, first.data.fingerprint]
        writer.writerow([contender.model, first.model.family, *values, contender.status, *fingerprints])
    return stream.getvalue().encode()


def _csv_cells(value: Estimate | None) -> list[str]:
    if value is None:
        return ["", "", "", "0"]
    ends = ["" if end is None else f"{end:.12g}" for end in (value.low, value.high)]
    return [f"{value.mean:.12g}", *ends, str(len(value.values))]


def _shown(quantity: Quantity, contender: Contender) -> str:
    value = estimate(quantity, contender)
    if value is None:
        return ""
    text = f"{value.mean:.{quantity.decimals}f}"
    if value.low is not None and value.high is not None and value.high > value.low:
        if len(value.values) > 1:
            half = f"{half_interval(value.values):.{quantity.decimals}f}"
            text += f" ± {half}" if float(half) else ""  # a count that only its float form lets vary
        else:
            text += f" [{value.low:.{quantity.decimals}f}, {value.high:.{quantity.decimals}f}]"
    return f"{text} †" if _disturbed(quantity, contender) else text


def _disturbed(quantity: Quantity, contender: Contender) -> bool:
    return any(quantity.disturbed_in(trial.record) is not None for trial in contender.finished)


def _disagreements(comparison: Comparison) -> list[str]:
    """A line for each model whose MACs the two counters do not agree on."""
    lines = []
    for contender in comparison.finished:
        check = contender.first.measured.macs_cross_check
        if check is not None and not check.agrees:
            lines.append(f"{contender.model}: the two counters of MACs differ by {check.difference:.2%}.")
    return lines


def _short(reason: str) -> str:
    reason = " ".join(reason.split())
    return reason if len(reason) <= 60 else f"{reason[:59]}…"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _value(value: object) -> str:
    """A setting as TOML has it, nearly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(own)}" for key, own in value.items()) + "}"
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else str(value)

"""The comparison of models as a table: a row a model, a column a quantity, the best of each column marked."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.records.comparison import Comparison, Trial, comparisons
from bench.records.machine import described
from bench.records.quantities import Quantity
from bench.report.judge.intervals import SEEDS, Estimate, estimate
from bench.report.judge.letters import groups
from bench.report.judge.marks import marks
from bench.report.judge.verdict import Standing, Verdicts
from bench.report.tables.extensions import extensions_text
from bench.report.tables.latex import document, fitting, floating
from bench.report.text.markup import Cell, Style, Table, paragraphs, written
from bench.report.text.numbers import estimated, number
from bench.report.text.titles import title
from bench.report.text.verdicts import DISTURBED, GROUP, LETTERS, intervals_read, marks_read


def report_columns(comparison: Comparison) -> list[str]:
    """The keys of the quantities in the report's tables."""
    return [quantity.key for quantity in comparison.quantities if quantity.table]


def run_columns(comparison: Comparison) -> list[str]:
    """The keys of the quantities in the table that `run` prints."""
    return [quantity.key for quantity in comparison.quantities if quantity.run_table]


def measured(comparison: Comparison, keys: Sequence[str] | None = None) -> tuple[list[Quantity], list[Quantity]]:
    """The quantities of those keys (the report's columns) that at least one model has, and those that none has."""
    by_key = {quantity.key: quantity for quantity in comparison.quantities}
    asked = [by_key[key] for key in (report_columns(comparison) if keys is None else keys) if key in by_key]
    found = [one for one in asked if any(estimate(one, contender) for contender in comparison.finished)]
    return found, [one for one in asked if one not in found]


def shown(comparison: Comparison, keys: Sequence[str] | None = None) -> tuple[list[Quantity], list[Quantity]]:
    """The same, each in the unit in which no model's value is printed as 0."""
    found, missing = measured(comparison, keys)
    values = {one: [own.mean for each in comparison.finished if (own := estimate(one, each))] for one in found}
    return [one.shown_for(own) for one, own in values.items()], missing


def comparison_table(comparison: Comparison, keys: Sequence[str] | None = None) -> Table:
    """One row a model, best mean test top-1 first; those that never finished last, with the reason.

    Quantities that no model has are left out. Behind top-1, where pairs were tested, stand the letters of its groups.
    """
    quantities, _ = shown(comparison, keys)
    failed = any(contender.status != "ok" for contender in comparison.contenders)
    verdicts = Verdicts.of(comparison)
    given = {quantity.key: marks(verdicts.on(quantity)) for quantity in quantities}
    letters = {one.key: groups(verdicts.on(one)) for one in quantities if one.kind == "accuracy"}
    headers, rows = ["model"], [[Cell(contender.model)] for contender in comparison.contenders]
    for one in quantities:
        headers += [one.label, *([GROUP] if letters.get(one.key) else [])]
        for place, row in enumerate(rows):  # the finished ones first, as in the verdicts
            row.append(Cell(_shown(verdicts.on(one), place), given[one.key].get(place, "")))
            if own := letters.get(one.key):
                row.append(Cell(own[place] if place < len(own) else ""))
    if failed:
        headers.append("status")
        for row, contender in zip(rows, comparison.contenders, strict=True):
            row.append(Cell(_short(contender.status)))
    return Table(headers, rows, frozenset({0, len(headers) - 1} if failed else {0}))


def notes(comparison: Comparison, keys: Sequence[str] | None = None, style: Style = "markdown") -> list[str]:
    """How to read the table: its columns, marks and intervals, what was not measured, and what is in doubt."""
    quantities, missing = shown(comparison, keys)
    lines = [
        "Best mean test top-1 first. Validation chose the epoch; the test pictures were used once, at that epoch's "
        "weights. " + "; ".join(f"{one.label}: {one.about}" for one in quantities) + "."
    ]
    lines += intervals_read(comparison, quantities)
    if len(comparison.finished) > 1:
        lines += marks_read("*" if style == "plain" else "Bold", quantities)
        if any(groups(Verdicts.of(comparison).on(one)) for one in quantities if one.kind == "accuracy"):
            lines.append(LETTERS)
    if any(any(Verdicts.of(comparison).on(one).disturbed) for one in quantities):
        lines.append(DISTURBED)
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
        f"validation, {data.test:,} for testing; {_shape(protocol.settings)}fingerprint {data.fingerprint[:12]}.",
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


def run_text(trials: Iterable[Trial], style: Style = "plain") -> str:
    """What `run` prints, and a notebook shows: these trials' table, how to read it, what each extension changes."""
    parts = []
    for comparison in comparisons(trials):
        columns = run_columns(comparison)
        parts += [written(comparison_table(comparison, columns), style)]
        parts += [paragraphs(notes(comparison, columns, style), style)]
        parts += filter(None, [extensions_text(comparison, style)])
    return "\n\n".join(parts) or "no trials"


def comparison_latex(comparison: Comparison) -> bytes:
    """The table, for \\input in a document with the package booktabs: as many as it takes for each to fit the text."""
    quantities, _ = shown(comparison)
    parts = []
    tables = list(fitting(comparison_table(comparison)))
    by_label = {quantity.label: quantity for quantity in quantities}
    for place, table in enumerate(tables, start=1):
        own = [by_label[header] for header in table.headers if header in by_label]
        lines = [f"{title(comparison)}: {', '.join(one.label for one in own)}."]
        if place == 1:
            lines += [*intervals_read(comparison, own), *marks_read("Bold", own)]
        lines += [LETTERS] if GROUP in table.headers else []
        label = "-".join(["tab:bench", comparison.name, str(place)])
        parts.append(floating(table, " ".join(lines), label))
    return document(parts)


def comparison_csv(comparison: Comparison) -> bytes:
    """Twelve digits of everything: of each quantity the mean, the ends of its 95 % interval, and of how many seeds.

    Of what was timed side by side also whether it was disturbed: 1 where the table has a †, else 0. Columns are named
    by the quantities' keys; `csv_units` has their units.
    """
    quantities, _ = measured(comparison)
    verdicts = Verdicts.of(comparison)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = [f"{one.key}{part}" for one in quantities for part in _csv_parts(one)]
    writer.writerow(["model", "family", *columns, "status", "protocol_fingerprint", "data_fingerprint"])
    for place, contender in enumerate(comparison.contenders):  # the finished ones first, as in the verdicts
        first = contender.first
        values = [
            cell
            for one in quantities
            for cell in (*_csv_cells(estimate(one, contender)), *_csv_flag(verdicts.on(one), place))
        ]
        fingerprints = [first.protocol.fingerprint, first.data.fingerprint]
        writer.writerow([contender.model, first.model.family, *values, contender.status, *fingerprints])
    return stream.getvalue().encode()


def csv_units(comparison: Comparison) -> list[str]:
    """Of each quantity in the CSV its key and unit: `latency_ms: ms`; those without a unit are left out."""
    return [f"{one.key}: {one.unit}" for one in measured(comparison)[0] if one.unit]


def _csv_parts(quantity: Quantity) -> tuple[str, ...]:
    return ("", "_low", "_high", "_n", *(["_disturbed"] if quantity.series else []))


def _csv_flag(standing: Standing, place: int) -> list[str]:
    if not standing.quantity.series:
        return []
    known = place < len(standing.values) and standing.values[place] is not None
    return [str(int(bool(standing.disturbed[place]))) if known else ""]


def _csv_cells(value: Estimate | None) -> list[str]:
    if value is None:
        return ["", "", "", "0"]
    ends = ["" if end is None else f"{end:.12g}" for end in (value.low, value.high)]
    return [f"{value.mean:.12g}", *ends, str(len(value.values))]


def _shown(standing: Standing, place: int) -> str:
    quantity, value = standing.quantity, standing.values[place] if place < len(standing.values) else None
    if value is None:
        return ""
    text = estimated(quantity, value)
    if value.low is not None and value.high is not None:
        low, high, half = (number(quantity, one) for one in (value.low, value.high, (value.high - value.low) / 2))
        even = len(value.values) >= SEEDS and math.isclose(
            value.high - value.mean, value.mean - value.low, rel_tol=1e-6
        )
        if even and low != high:
            text = f"{number(quantity, value.mean)} ± {half}"
    return f"{text} †" if standing.disturbed[place] else text


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


def _shape(settings: Mapping[str, Any]) -> str:
    """How pictures come to the shape that models see."""
    data = settings.get("data", {})
    if "image_size" not in data:
        return ""
    stretched = data.get("resize") == "stretch"
    how = "stretched to a square" if stretched else "their short side scaled, the middle cut out"
    return f"at {data['image_size']} pixels, {how}; "


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _value(value: object) -> str:
    """A setting as TOML has it, nearly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(own)}" for key, own in value.items()) + "}"
    if isinstance(value, float) and value > 1 and value.is_integer():
        return str(int(value))  # of what may be a share or a count, a count
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else str(value)

"""What each extension changes, as a table: a row an extended model, beside its base under the same protocol."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY
from bench.report.judge.extended import MARGIN, RATIOS, Change, Ratio, changes
from bench.report.tables.latex import document, fitting, floating
from bench.report.text.markup import Cell, Style, Table, paragraphs, written
from bench.report.text.numbers import label_parts, with_interval
from bench.report.text.titles import title
from bench.report.text.verdicts import ONE_SEED, ratio_said

ACCURACY = BY_KEY["accuracy"]
HEAD = "top-1 − base's (points)"


def extensions_table(comparison: Comparison) -> Table | None:
    """None where no extended model stands beside its base."""
    found = changes(comparison)
    if not found:
        return None
    shown = [one for one in RATIOS if any(one.key in change.ratios for change in found)]
    headers = ["model", "base", HEAD, "p", *(f"× {label_parts(one)[0]}" for one in shown), "extension"]
    rows = [_row(comparison, change, [one.key for one in shown]) for change in found]
    return Table(headers, rows, frozenset({0, 1, len(headers) - 1}))


def extensions_read(comparison: Comparison) -> list[str]:
    """How to read it."""
    if not changes(comparison):
        return []
    lines = [
        "Each model beside its own base, which has the same options, pictures, order of pictures and patches. Top-1: "
        "the difference on the same test pictures, with its 95 % interval; p as in the table above, corrected for all "
        "pairs of models. ×: the model's value over its base's; of times from rounds in which both took turns, with "
        "the ratio's 95 % interval.",
        "An extension pays where top-1 is higher by more than chance, or it needs fewer MACs, the interval holds no "
        f"loss of {MARGIN:g} point or more and the base is known to do better than guessing; it costs where top-1 is "
        "lower by more than chance, or it needs more MACs and top-1 is not higher; else it cannot be told.",
    ]
    if any(change.accuracy.seeds == 1 for change in changes(comparison)):
        lines.append(ONE_SEED)
    if any(ratio.disturbed for change in changes(comparison) for ratio in change.ratios.values()):
        lines.append("†: other processes were at work on the machine while one of the two was timed.")
    return lines


def extensions_text(comparison: Comparison, style: Style = "plain") -> str:
    """What `run` prints of it, and a notebook shows; empty where there is nothing."""
    table = extensions_table(comparison)
    if table is None:
        return ""
    read = paragraphs(extensions_read(comparison), style)
    return "\n\n".join(["What each extension changes:", written(table, style), read])


def extensions_json(comparison: Comparison) -> list[dict[str, Any]]:
    """The same as plain JSON values."""
    return [
        {
            "model": comparison.finished[change.place].model,
            "base": comparison.finished[change.base].model,
            "accuracy": change.accuracy.to_json(),
            "ratios": {key: asdict(ratio) for key, ratio in change.ratios.items()},
            "outcome": change.outcome,
        }
        for change in changes(comparison)
    ]


def extensions_latex(comparison: Comparison) -> bytes:
    """The table, for \\input, in as many parts as fit the text."""
    table = extensions_table(comparison)
    assert table is not None  # of a comparison that has one
    parts = []
    for place, part in enumerate(fitting(table), start=1):
        words = [f"{title(comparison)}: what each extension changes."]
        words += extensions_read(comparison) if place == 1 else []
        parts.append(
            floating(part, " ".join(words), "-".join(["tab:bench", comparison.name, "extensions", str(place)]))
        )
    return document(parts)


def extensions_csv(comparison: Comparison) -> bytes:
    """Twelve digits: the difference of top-1 in points, p, and the ratios `x_KEY`, with the ends of their intervals."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    ratios = [f"x_{one.key}{end}" for one in RATIOS for end in ("", "_low", "_high")]
    writer.writerow(["model", "base", "extensions", "top1_points", "top1_low", "top1_high", "p", *ratios, "outcome"])
    for change in changes(comparison):
        model, verdict = comparison.finished[change.place].first.model, change.accuracy
        cells = [cell for one in RATIOS for cell in _cells(change.ratios.get(one.key))]
        accuracy = [_digits(one) for one in (verdict.value, verdict.low, verdict.high, verdict.p)]
        names = "+".join(one.name for one in model.extensions)
        writer.writerow([model.name, model.base, names, *accuracy, *cells, change.outcome])
    return stream.getvalue().encode()


def _row(comparison: Comparison, change: Change, keys: list[str]) -> list[Cell]:
    verdict = change.accuracy
    difference = verdict.reason
    if verdict.value is not None:
        difference = with_interval(ACCURACY, verdict.value, verdict.low, verdict.high, sign=True)
    names = [comparison.finished[place].model for place in (change.place, change.base)]
    p = "" if verdict.p is None else f"{verdict.p:.2g}" if verdict.p >= 0.0001 else "< 0.0001"
    texts = [*names, difference, p, *(ratio_said(change.ratios.get(key)) for key in keys), change.outcome]
    return [Cell(text) for text in texts]


def _cells(ratio: Ratio | None) -> list[str]:
    return ["", "", ""] if ratio is None else [_digits(ratio.value), _digits(ratio.low), _digits(ratio.high)]


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"

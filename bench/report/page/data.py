"""What the page shows, as plain values: numbers rounded to what can be seen, text as it stands in the records.

Text is not escaped here: the page embeds the values as JSON and writes them as text. Predictions are left out;
learning curves, confusion matrices and reports go in, of the best models first, until they are DETAIL_LIMIT long.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.records.classes import class_rows, confusion_counts
from bench.records.comparison import Comparison, Contender, Trial
from bench.records.dotted import dotted
from bench.records.machine import lasting
from bench.records.quantities import Quantity, with_plugins
from bench.records.record import ModelRecord, Record
from bench.report.judge.intervals import estimate
from bench.report.judge.marks import marks
from bench.report.judge.verdict import Verdicts
from bench.report.page.verdicts import encoded_fronts, encoded_verdicts
from bench.report.text.bars import bars_read
from bench.report.text.names import distinct
from bench.report.text.verdicts import intervals_read, marks_read

DETAIL_LIMIT = 4_000_000  # characters: with everything else, 500 records stay under 6 MB
MATRIX_CLASSES = 30  # more cannot be seen at once: then the most frequent confusions, as a list
LISTED_CONFUSIONS = 60
NAME = 28  # letters of a model's name beside its point
POINTS = 120  # of a learning curve, at most
MESSAGE = 300  # characters of an error's message; the record has it whole


def page_data(results: Path, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything that the page shows, ready for JSON; `models` in the order of the comparison."""
    quantities = with_plugins(quantity for one in comparisons for quantity in one.quantities)
    found = [_comparison(results, one, quantities) for one in comparisons]
    ranked = (
        (rank, number, model, contender)
        for number, (one, shown) in enumerate(zip(comparisons, found, strict=True))
        for rank, (contender, model) in enumerate(zip(one.contenders, shown["models"], strict=True))
    )
    _add_details(sorted(ranked, key=lambda item: item[:2]))
    return {
        "quantities": [
            {"key": q.key, "label": q.label, "decimals": q.decimals, "better": q.better, "about": q.about,
             "cost": q.cost, "ratio": q.kind == "time"}
            for q in quantities
        ],
        # Those that a table starts with; the others can be chosen.
        "columns": [quantity.key for quantity in quantities if quantity.page],
        "comparisons": found,
    }  # fmt: skip


def _comparison(results: Path, comparison: Comparison, quantities: Sequence[Quantity]) -> dict[str, Any]:
    first = comparison.first
    environments = _Environments()
    verdicts = Verdicts.of(comparison)
    given = {quantity.key: marks(verdicts.on(quantity)) for quantity in quantities}
    names = distinct([contender.model for contender in comparison.contenders], NAME)
    models = [
        {
            **_model(results, contender, quantities, environments),
            **({"short": names[place]} if names[place] != contender.model else {}),
            "disturbed": _disturbed(verdicts, place, quantities),
            "marks": {key: found[place] for key, found in given.items() if place in found},
        }
        for place, contender in enumerate(comparison.contenders)  # the finished ones first, as in the verdicts
    ]
    return {
        "name": (comparison.folder.relative_to(results).parent / comparison.name).as_posix(),
        "data": {
            "name": first.data.name,
            "fingerprint": first.data.fingerprint,
            "train": first.data.train,
            "val": first.data.val,
            "test": first.data.test,
        },
        "classes": first.data.classes,
        "protocol": {
            "name": first.protocol.name,
            "description": first.protocol.description,
            "fingerprint": first.protocol.fingerprint,
            "settings": list(_flat(first.protocol.settings)),
        },
        "seeds": comparison.seeds,
        "environments": environments.found,
        "models": models,
        "how_to_read": [*intervals_read(comparison, quantities), *marks_read("Bold", quantities)],
        "verdicts": encoded_verdicts(verdicts, quantities),
        "fronts": encoded_fronts(verdicts, quantities),
        # By quantity, what its bars in the chart are.
        "bars": {
            quantity.key: words
            for quantity in quantities
            if (words := bars_read(quantity, verdicts.on(quantity).values))
        },
    }


def _model(
    results: Path, contender: Contender, quantities: Sequence[Quantity], environments: _Environments
) -> dict[str, Any]:
    model = contender.first.model
    size = "×".join(str(side) for side in model.input_size or [])
    about = [
        ("plugin", model.plugin),
        ("source", model.source),
        ("input", size),
        *((f"option {key}", text) for key, text in _flat(model.options)),
        *_extensions(model),
        *((f"weights {key}", text) for key, text in _flat(model.weights or {})),
    ]
    records = [trial.record for trial in contender.finished]
    return {
        "name": model.name,
        "family": model.family,
        **({"base": model.base} if model.extensions else {}),
        "about": [[key, text] for key, text in about if text],
        "values": [_values(quantity, contender) for quantity in quantities],
        # One row a trial that ended well, where there are several.
        "by_seed": [
            {"seed": record.seed, "values": [_short(_of_trial(quantity, record)) for quantity in quantities]}
            for record in records
        ]
        if len(records) > 1
        else [],
        "notes": _notes(records),
        "trials": [_trial(results, trial, environments) for trial in contender.trials],
        "detail": None,
    }


def _extensions(model: ModelRecord) -> Iterable[tuple[str, str]]:
    """The base, and each extension with all of its options, and what it made of those left open."""
    if model.extensions:
        yield "base", model.base
    for one in model.extensions:
        yield one.name, one.source
        yield from ((f"{one.name} {key}", text) for key, text in _flat(one.options | one.resolved_options))


def _of_trial(quantity: Quantity, record: Record) -> float | None:
    """None for times of sessions, which are of no one trial."""
    return None if quantity.series else quantity.value(record)


def _values(quantity: Quantity, contender: Contender) -> list[float | None] | None:
    """The mean, and its interval where there is one."""
    found = estimate(quantity, contender)
    if found is None or _short(found.mean) is None:
        return None
    return [_short(found.mean)] if found.low is None else [_short(found.mean), _short(found.low), _short(found.high)]


def _trial(results: Path, trial: Trial, environments: _Environments) -> dict[str, Any]:
    record = trial.record
    error = record.error
    reason = "" if error is None else error.message if error.type == record.status else f"{error.type}: {error.message}"
    return {
        "seed": record.seed,
        "status": record.status,
        "reason": reason if len(reason) <= MESSAGE else reason[: MESSAGE - 1] + "…",
        "record": (trial.folder.relative_to(results) / "record.json").as_posix(),
        "environment": environments.number(record.environment),
        "epochs": record.training.epochs if record.training else None,
        "best": record.training.best_epoch if record.training else None,
    }


def _disturbed(verdicts: Verdicts, place: int, quantities: Sequence[Quantity]) -> dict[str, str]:
    """By quantity, what disturbed its measurement."""
    if place >= len(verdicts.contenders):
        return {}
    found = ((quantity.key, verdicts.on(quantity).disturbed[place]) for quantity in quantities)
    return {key: disturbed for key, disturbed in found if disturbed}


def _notes(records: Sequence[Record]) -> list[str]:
    """What a reader of this model's numbers should know; of the first trial that ended well."""
    if not records:
        return []
    measured = records[0].measured
    check, uncounted = measured.macs_cross_check, measured.uncounted_operators or {}
    notes = []
    if check is not None and not check.agrees:
        notes.append(f"The two counters of MACs differ by {check.difference:.2%}.")
    if uncounted:
        notes.append("Operators without MACs of their own: " + ", ".join(map(str, uncounted)) + ".")
    training = records[0].training
    if training and (training.frozen_prefix or {}).get("used"):
        notes.append("The frozen prefix's features were computed once.")
    return notes


def _add_details(ranked: Iterable[tuple[int, int, dict[str, Any], Contender]]) -> None:
    """Put the details into the models, best ones of all comparisons first, as far as DETAIL_LIMIT goes."""
    left = DETAIL_LIMIT
    for _, _, model, contender in ranked:
        if not contender.finished:
            continue
        detail = _detail(contender)
        left -= len(embedded(detail))
        if left < 0:
            return
        model["detail"] = detail


def _detail(contender: Contender) -> dict[str, Any]:
    records = [trial.record for trial in contender.finished]
    classes = contender.first.data.classes
    counts = confusion_counts(contender)
    confusion: list[list[int]] = [] if counts is None else counts.tolist()
    small = len(classes) <= MATRIX_CLASSES
    return {
        "curves": [_curves(record) for record in records if record.training],
        "confusion": confusion if small else None,
        "confused": None if small else _most_confused(confusion),
        "report": [[_short(value, 4) for value in row.values] for row in class_rows(contender)],
    }


def _curves(record: Record) -> dict[str, Any]:
    """A trial's history; long ones at every n-th epoch, the best and the last among them."""
    assert record.training is not None
    history, best = record.training.history, record.training.best_epoch
    length = max(len(history.train_loss), len(history.val_loss), len(history.train_top1), len(history.val_top1))
    step = math.ceil(length / POINTS) or 1
    kept = [at for at in range(length) if at % step == 0 or at in (best - 1, length - 1)]
    series = {
        name: [_short(getattr(history, name)[at], 4) if at < len(getattr(history, name)) else None for at in kept]
        for name in ("train_loss", "val_loss", "train_top1", "val_top1")
    }
    return {"seed": record.seed, "best": best, "epochs": [at + 1 for at in kept], **series}


def _most_confused(matrix: Sequence[Sequence[int]]) -> list[list[int]]:
    """[true class, predicted class, count, all of the true class], most frequent first."""
    import numpy as np

    counts = np.array(matrix).reshape(len(matrix), -1)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:LISTED_CONFUSIONS]
    pairs = ((int(at) // len(counts), int(at) % len(counts)) for at in order)
    return [[true, taken, int(counts[true, taken]), int(totals[true])] for true, taken in pairs if counts[true, taken]]


class _Environments:
    """The different environments of a comparison, in the order in which they are met."""

    def __init__(self) -> None:
        self.found: list[list[tuple[str, str]]] = []
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}

    def number(self, environment: dict[str, Any] | None) -> int | None:
        """Which one this is."""
        if environment is None:
            return None
        rows = [(key, text) for key, text in _flat(lasting(environment)) if text]
        number = self._numbers.setdefault(tuple(rows), len(self.found))
        if number == len(self.found):
            self.found.append(rows)
        return number


def _flat(settings: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """`train.epochs`, `8` for {"train": {"epochs": 8}}; what is null is empty text."""
    return ((key, _text(value)) for key, value in dotted(settings))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value) if value else "none"
    return "none" if value == {} else json.dumps(value)


def _short(value: float | None, digits: int = 6) -> float | None:
    """Rounded to significant digits, whole numbers without a point; None for what is no finite number."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def embedded(value: Any) -> str:
    """Compact JSON in ASCII that may stand in any HTML element, a script among them."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

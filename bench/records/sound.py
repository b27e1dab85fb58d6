"""Whether a record says of its test pictures what the predictions beside it say: nobody has to believe either."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.files import read_regular
from bench.records.archive import UNREADABLE
from bench.records.predictions import NAME, Predictions, parse_predictions
from bench.records.record import Record
from bench.records.scores import scores

# Of an edge between two bins, the error of float32 may decide; of everything else, the same code gives the same.
SLACK = 1e-6
ECE_SLACK = 1e-3


def contradiction(record: Record, folder: Path) -> str | None:
    """In what the record contradicts the predictions in its folder, in words; None where it does not.

    Where there are no predictions, or none that can be read, there is nothing to contradict.
    """
    if record.accuracy is None:
        return None
    try:
        content = read_regular(folder / NAME)
    except OSError:
        return None
    if record.predictions_sha256 and hashlib.sha256(content).hexdigest() != record.predictions_sha256:
        return f"{NAME} is not the file that the trial wrote"
    try:
        found = _found(parse_predictions(content), record.data.classes)
    except UNREADABLE:
        return None
    return next(_differences(record, found), None)


def _found(predictions: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    probabilities, labels = predictions.probabilities, predictions.label
    found: dict[str, Any] = {"pictures": len(labels)}
    if probabilities.shape == (len(labels), len(classes)) and labels.max(initial=0) < len(classes):
        found |= scores(probabilities, labels, classes)
    return found


def _differences(record: Record, found: dict[str, Any]) -> Iterator[str]:
    said = record.accuracy
    assert said is not None
    if found["pictures"] != record.data.test:
        yield f"it speaks of {record.data.test:,} test pictures, {NAME} of {found['pictures']:,}"
    for key in ("test_top1", "test_top5", "macro_f1", "ece"):
        if key in found and abs(getattr(said, key) - found[key]) > (ECE_SLACK if key == "ece" else SLACK):
            yield f"{key} is {getattr(said, key):.4f}, by {NAME} {found[key]:.4f}"
    if said.confusion and said.confusion != found.get("confusion"):
        yield f"its confusion matrix is not that of {NAME}"
    for name, values in (found.get("per_class") or {}).items():
        own = said.per_class.get(name, {}) if said.per_class else values
        if any(abs(own.get(key, -1.0) - value) > SLACK for key, value in values.items()):
            yield f"the figures of class {name} are not those of {NAME}"

"""Whether a record says of its test pictures what the predictions beside it say: nobody has to believe either."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        content = (folder / "predictions.npz").read_bytes()
    except OSError:
        return None
    if record.predictions_sha256 and hashlib.sha256(content).hexdigest() != record.predictions_sha256:
        return "predictions.npz is not the file that the trial wrote"
    try:
        found = _found(content, tuple(record.data.classes))
    except (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile):
        return None
    return next(_differences(record, found), None)


def _found(content: bytes, classes: tuple[str, ...]) -> dict[str, Any]:
    import numpy as np

    with np.load(io.BytesIO(content)) as opened:
        probabilities, labels = opened["probabilities"], opened["label"]
    if probabilities.ndim != 2 or probabilities.shape != (len(labels), len(classes)):
        return {"pictures": len(labels)}
    return {"pictures": len(labels), **scores(probabilities, labels, classes)}


def _differences(record: Record, found: dict[str, Any]) -> Iterator[str]:
    said = record.accuracy
    assert said is not None
    if found["pictures"] != record.data.test:
        yield f"it speaks of {record.data.test:,} test pictures, predictions.npz of {found['pictures']:,}"
    for key in ("test_top1", "test_top5", "macro_f1", "ece"):
        if key in found and abs(getattr(said, key) - found[key]) > (ECE_SLACK if key == "ece" else SLACK):
            yield f"{key} is {getattr(said, key):.4f}, by predictions.npz {found[key]:.4f}"
    if said.confusion and said.confusion != found.get("confusion"):
        yield "its confusion matrix is not that of predictions.npz"
    for name, values in (found.get("per_class") or {}).items():
        own = said.per_class.get(name, {}) if said.per_class else values
        if any(abs(own.get(key, -1.0) - value) > SLACK for key, value in values.items()):
            yield f"the figures of class {name} are not those of predictions.npz"

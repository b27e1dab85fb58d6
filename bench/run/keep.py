"""What a trial leaves behind: its predictions, its curves, and last its record."""

from __future__ import annotations

import hashlib
import io

import numpy as np

from bench.data.splits import Subset
from bench.files import write_bytes
from bench.models.kept import DESCRIPTION, TENSORS
from bench.records import record as records
from bench.records.predictions import NAME
from bench.records.record import Record, RecordError
from bench.records.tensorboard import write_scalars
from bench.request import TrialSpec


def keep(spec: TrialSpec, record: Record) -> None:
    """Write the record, last: where it is, the rest is."""
    write_scalars(spec.folder, record)
    records.write_record(spec.folder, record)


def forget_earlier(spec: TrialSpec) -> None:
    """Remove the record and the weights of an earlier trial in that folder, so that what lies there is this one's."""
    for name in ("record.json", TENSORS, DESCRIPTION):
        (spec.folder / name).unlink(missing_ok=True)


def kept_record(spec: TrialSpec) -> Record | None:
    """The record of this trial, where it was trained and evaluated and has written it; else None."""
    try:
        record = records.read_record(spec.folder / "record.json")
    except (OSError, RecordError):
        return None
    return record if record.status == "ok" else None


def write_predictions(spec: TrialSpec, labels: np.ndarray, probabilities: np.ndarray, subset: Subset) -> str:
    """Write predictions.npz, and give its SHA-256.

    It holds `index` of each test picture in the dataset, its `label`, and the `probabilities` of the classes.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, index=subset.indices, label=labels, probabilities=probabilities.astype(np.float32))
    write_bytes(spec.folder / NAME, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()

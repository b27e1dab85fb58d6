"""What a trial leaves behind: its predictions, its curves, and last its record."""

from __future__ import annotations

import io

import numpy as np

from bench.data.splits import Subset
from bench.files import write_bytes
from bench.records import record as records
from bench.records.record import Record
from bench.records.tensorboard import write_scalars
from bench.request import TrialSpec
from bench.train.loop import Evaluation


def keep(spec: TrialSpec, record: Record) -> None:
    """Write the record, last: where it is, the rest is."""
    write_scalars(spec.folder, record)
    records.write_record(spec.folder, record)


def write_predictions(spec: TrialSpec, test: Evaluation, subset: Subset) -> None:
    """predictions.npz: `index` of each test picture in the dataset, its `label`, the `probabilities` of the classes."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        index=subset.indices,
        label=test.labels.numpy(),
        probabilities=test.probabilities.numpy().astype(np.float32),
    )
    write_bytes(spec.folder / "predictions.npz", buffer.getvalue())

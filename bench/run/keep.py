"""What a trial leaves behind, whole: its weights, predictions and pictures, and last its record.

They are made in a folder of their own, and take the place of an earlier trial's only when all are there: until then
that one stays as it is. A finished record gives way to a finished one alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.data.splits import Subset
from bench.files import clear_partials, write_bytes, write_text
from bench.models.kept import DESCRIPTION, TENSORS
from bench.records import record as records
from bench.records.predictions import NAME
from bench.records.record import Record
from bench.records.tensorboard import write_scalars

NEW = ".new"
PICTURES = "pictures.npz"
LISTED = "files.json"  # in NEW, once all is there: the names of what takes an earlier trial's place
BESIDE = (TENSORS, DESCRIPTION, NAME, PICTURES)


def settle(folder: Path) -> None:
    """Finish what a killed process had begun to put in place, and remove what it left half made."""
    if (folder / NEW / LISTED).is_file():
        _put_in_place(folder)
    shutil.rmtree(folder / NEW, ignore_errors=True)
    clear_partials(folder)


def put_in_place(folder: Path, record: Record) -> None:
    """Let the record, and what was made beside it in NEW, take the place of an earlier trial's."""
    records.write_record(folder / NEW, record)
    names = [name for name in BESIDE if (folder / NEW / name).exists()]
    write_text(folder / NEW / LISTED, json.dumps(names))
    _put_in_place(folder)
    write_scalars(folder, record)


def take_over(folder: Path, changed: Mapping[str, bytes], gone: Sequence[str]) -> None:
    """Let what another machine has made of such files take their places, and remove those that are gone there."""
    shutil.rmtree(folder / NEW, ignore_errors=True)
    for name, content in changed.items():
        write_bytes(folder / NEW / name, content)
    names = [name for name in BESIDE if name in changed or (name not in gone and (folder / name).exists())]
    write_text(folder / NEW / LISTED, json.dumps(names))
    _put_in_place(folder)


def _put_in_place(folder: Path) -> None:
    """Goes on from wherever it was cut."""
    new = folder / NEW
    wanted = json.loads((new / LISTED).read_text())
    for name in BESIDE:
        if name not in wanted:
            (folder / name).unlink(missing_ok=True)
        elif (new / name).exists():
            (new / name).replace(folder / name)
    if (new / records.NAME).exists():
        (new / records.NAME).replace(folder / records.NAME)
    shutil.rmtree(new)


def rewrite(folder: Path, record: Record) -> None:
    """Write what has been added to the record, and its curves."""
    write_scalars(folder, record)
    records.write_record(folder, record)


def write_predictions(folder: Path, labels: np.ndarray, probabilities: np.ndarray, subset: Subset) -> str:
    """Write predictions.npz, and give its SHA-256.

    It holds `index` of each test picture in the dataset, its `label`, and the `probabilities` of the classes.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, index=subset.indices, label=labels, probabilities=probabilities.astype(np.float32))
    write_bytes(folder / NAME, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()

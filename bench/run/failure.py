"""The record of a trial that did not end well. Free of torch: the process that the user started writes it, too."""

from __future__ import annotations

from pathlib import Path

from bench.errors import StorageError
from bench.records import record as records
from bench.records.efficiency import Efficiency
from bench.records.record import Failure, ModelRecord, Record, RecordError, Status, read_record
from bench.request import TrialSpec
from bench.run.outline import outline


def finished(folder: Path) -> Record | None:
    """The record in the trial's folder, where it ended well."""
    try:
        record = read_record(folder / records.NAME)
    except (OSError, RecordError):
        return None
    return record if record.status == "ok" else None


def is_unmeasured(folder: Path) -> bool:
    """Whether the trial in the folder ended well, and what it costs has still to be measured."""
    kept = finished(folder)
    return kept is not None and kept.efficiency is None


def keep_failure(folder: Path, record: Record) -> bool:
    """Write the record; False where a finished one is there, which gives way to none that is not."""
    if finished(folder) is not None:
        return False
    records.write_record(folder, record)
    return True


def record_failure(spec: TrialSpec, known: ModelRecord, status: Status, message: str, seconds: float) -> Record:
    """The record of a trial whose own process could not give one; it is written, where that can be done.

    Where it had ended well, and was being measured, that is what could not be done.
    """
    kept = finished(spec.folder)
    if kept is not None and kept.efficiency is None and status in ("crashed", "timeout"):
        kept.efficiency = Efficiency(errors={"measuring": f"{status}: {message}"})
        records.write_record(spec.folder, kept)
        return kept
    record = outline(spec, known)
    record.status, record.seconds = status, seconds
    record.error = Failure(type=status, message=message)
    try:
        keep_failure(spec.folder, record)
    except StorageError as error:
        record.error = Failure(type=status, message=f"{message}; its record could not be written: {error}")
    return record

"""All records as one table, a row a trial: for pandas, and as CSV or Parquet for everything else."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.files import write_bytes
from bench.records.comparison import Trial, read_trials
from bench.records.dotted import dotted
from bench.records.record import Record, RecordError

if TYPE_CHECKING:
    from pandas import DataFrame

# Tables whose keys are data (classes, operators, batches, options), not the record's schema: kept whole, as JSON.
WHOLE = {
    "accuracy.per_class", "efficiency.macs_by_operator", "efficiency.uncounted_operators",
    "efficiency.memory.inference_peak", "model.options", "protocol.settings.model.options",
}  # fmt: skip
LEFT_OUT = {"efficiency.macs_by_module"}  # as long as the rest together
INSTALL = "python -m pip install 'bench[export]'"


def load_frame(results: str | Path = "results") -> DataFrame:
    """A pandas DataFrame of all trials of a results folder, one row a trial.

    Columns are `folder` and the record's keys with dots: `accuracy.test_top1`, `protocol.settings.train.epochs`. Lists
    are JSON; units are the record's. Raises RecordError for a damaged record, RequestError where pandas is missing.
    """
    trials, damaged = read_trials(Path(results))
    if damaged:
        raise RecordError(damaged[0])
    return frame(trials, Path(results))


def export(results: Path, to: Path) -> tuple[int, list[str]]:
    """Write all trials to a file .csv or .parquet; gives how many, and a line for each damaged record.

    Raises RequestError for another kind of file, for a folder without records, and where a package is missing.
    """
    if to.suffix not in (".csv", ".parquet"):
        raise RequestError(f"--to {to}: the name must end in .csv or .parquet")
    trials, damaged = read_trials(results)
    if not trials:
        raise RequestError(f"--results {results}: no records; `python -m bench run` makes some")
    table = frame(trials, results)
    buffer = io.BytesIO()
    if to.suffix == ".csv":
        table.to_csv(buffer, index=False)
    else:
        try:
            table.to_parquet(buffer, index=False, engine="pyarrow")
        except ImportError:
            raise RequestError(f"Parquet needs pyarrow: {INSTALL}, or name a .csv") from None
    try:
        write_bytes(to, buffer.getvalue())
    except OSError as error:
        raise RequestError(f"--to {to}: cannot be written: {error.strerror}") from None
    return len(trials), damaged


def frame(trials: Sequence[Trial], results: Path) -> DataFrame:
    """The trials as a DataFrame."""
    try:
        import pandas
    except ImportError:
        raise RequestError(f"a data frame needs pandas: {INSTALL}") from None
    rows = [{"folder": trial.folder.relative_to(results).as_posix(), **row(trial.record)} for trial in trials]
    table = pandas.DataFrame(rows)
    for name in table.columns:
        # Parquet has one type a column; a plugin's quantity may have several.
        kinds = {type(value) for value in table[name].dropna()}
        if len(kinds) > 1 and not kinds <= {int, float}:
            table[name] = [None if pandas.isna(value) else json.dumps(value) for value in table[name]]
    return table


def row(record: Record) -> dict[str, Any]:
    """The record's values under dotted names, lists as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in dotted(record.to_json(), WHOLE | LEFT_OUT)
        if name not in LEFT_OUT
    }

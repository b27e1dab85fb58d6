"""All records as one table, a row a trial: for pandas, and as CSV or Parquet for everything else."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.files import DISTRIBUTION, write_bytes
from bench.records.comparison import Trial, comparisons, read_trials
from bench.records.dotted import dotted
from bench.records.quantities import QUANTITIES
from bench.records.record import Record, RecordError
from bench.records.sessions import Times

if TYPE_CHECKING:
    from pandas import DataFrame

# Tables whose keys are data (classes, operators, batches, options), not the record's schema: kept whole, as JSON.
WHOLE = {
    "accuracy.per_class", "efficiency.macs_by_operator", "efficiency.uncounted_operators",
    "efficiency.memory.inference_peak", "model.options", "protocol.settings.model.options",
}  # fmt: skip
LEFT_OUT = {"efficiency.macs_by_module"}  # as long as the rest together
INSTALL = f"python -m pip install '{DISTRIBUTION}[export]'"


def load_frame(results: str | Path = "results") -> DataFrame:
    """A pandas DataFrame of all trials of a results folder, one row a trial.

    Columns are `folder` and the record's keys with dots: `accuracy.test_top1`, `protocol.settings.train.epochs`; ends
    of intervals are `…_low` and `…_high`, of each epoch's values there is the mean (`…_mean`) beside the JSON. What a
    timing session says of the trial's model is under `timing`. `columns` says what each column is. Raises RecordError
    for a damaged record, RequestError where pandas is missing.

    >>> bench.load_frame("results").folder.tolist()
    ['first/vit_tiny/seed0']
    """
    trials, damaged = read_trials(Path(results))
    if damaged:
        raise RecordError(damaged[0])
    return frame(trials, Path(results))


def export(results: Path, to: Path) -> tuple[int, list[str]]:
    """Write all trials to a file .csv or .parquet; gives how many, and a line for each damaged record.

    Beside it NAME.schema.json says of each column its type, its unit and what it is.

    Raises RequestError for another kind of file, for a folder without records, and where a package is missing.
    """
    if to.suffix not in (".csv", ".parquet"):
        raise RequestError(f"--to {to}: the name must end in .csv or .parquet")
    trials, damaged = read_trials(results)
    if not trials:
        raise RequestError(f"--results {results}: no records; `python -m bench run` makes some")
    table = frame(trials, results)
    buffer = io.BytesIO()
    described = json.dumps(columns(table), indent=1) + "\n"
    if to.suffix == ".csv":
        table.to_csv(buffer, index=False)
    else:
        try:
            table.to_parquet(buffer, index=False, engine="pyarrow")
        except ImportError:
            raise RequestError(f"Parquet needs pyarrow: {INSTALL}, or name a .csv") from None
    try:
        write_bytes(to, buffer.getvalue())
        write_bytes(to.with_name(f"{to.stem}.schema.json"), described.encode())
    except OSError as error:
        raise RequestError(f"--to {to}: cannot be written: {error.strerror}") from None
    return len(trials), damaged


def frame(trials: Sequence[Trial], results: Path) -> DataFrame:
    """The trials as a DataFrame."""
    try:
        import pandas
    except ImportError:
        raise RequestError(f"a data frame needs pandas: {INSTALL}") from None
    times = _times(trials)
    rows = [
        {"folder": trial.folder.relative_to(results).as_posix(), **row(trial.record), **times.get(trial.folder, {})}
        for trial in trials
    ]
    table = pandas.DataFrame(rows)
    for name in _counts(rows) & {name for name in table.columns if table[name].isna().any()}:
        table[name] = table[name].astype("Int64")  # a trial without it would make 2000 a 2000.0
    for name in table.columns:
        if table[name].isna().all():  # of no trial: a number that was not measured, as far as is known
            table[name] = table[name].astype("float64")
            continue
        # Parquet has one type a column; a plugin's quantity may have several.
        kinds = {type(value) for value in table[name].dropna()}
        if len(kinds) > 1 and not kinds <= {int, float}:
            table[name] = [None if pandas.isna(value) else json.dumps(value) for value in table[name]]
    return table


def _counts(rows: Sequence[dict[str, Any]]) -> set[str]:
    """The columns of which every known value is an integer, and no truth value."""
    kinds: dict[str, set[type]] = {}
    for one in rows:
        for name, value in one.items():
            if value is not None:
                kinds.setdefault(name, set()).add(type(value))
    return {name for name, found in kinds.items() if found == {int}}


def row(record: Record) -> dict[str, Any]:
    """The record's values under dotted names; lists as JSON, and beside that an interval's ends and an epoch's mean."""
    found: dict[str, Any] = {}
    for name, value in dotted(record.to_json(), WHOLE | LEFT_OUT):
        if name in LEFT_OUT:
            continue
        found[name] = json.dumps(value) if isinstance(value, dict | list) else value
        if not isinstance(value, list) or not all(isinstance(one, int | float) for one in value):
            continue
        if name.endswith("ci95") and len(value) == 2:
            found |= {f"{name}_low": value[0], f"{name}_high": value[1]}
        elif name.startswith("training.") and value:
            found[f"{name}_mean"] = math.fsum(value) / len(value)
    fastest = record.measured.best_throughput
    if fastest is not None:
        found["efficiency.images_per_second"] = fastest.images_per_second
        found["efficiency.images_per_second_batch"] = fastest.batch
    return found


def _times(trials: Sequence[Trial]) -> dict[Path, dict[str, float]]:
    """By trial, what its model's timing sessions say, from quiet ones alone: seconds of a run by series, and images/s.

    The ends of an interval are the lowest and the highest of the sessions'; none where a session has none.
    """
    found: dict[Path, dict[str, float]] = {}
    for comparison in comparisons(trials):
        for contender in comparison.contenders:
            quiet: dict[str, list[Times]] = {}
            for kept in contender.sessions:
                for series in kept.session.by_name[contender.model].series:
                    times = kept.session.times(contender.model, series)
                    if times is not None and not times.disturbed:
                        quiet.setdefault(series, []).append(times)
            values = {name: value for series, own in quiet.items() for name, value in _seconds(series, own)}
            found |= {trial.folder: values for trial in contender.trials}
    return found


def _seconds(series: str, sessions: Sequence[Times]) -> Iterator[tuple[str, float]]:
    seconds = math.exp(math.fsum(one.level.median for one in sessions) / len(sessions))
    yield f"timing.{series}_seconds", seconds
    ends = [one.level.interval for one in sessions if one.level.interval is not None]
    if len(ends) == len(sessions):
        yield f"timing.{series}_seconds_low", math.exp(min(low for low, _ in ends))
        yield f"timing.{series}_seconds_high", math.exp(max(high for _, high in ends))
    yield f"timing.{series}_images_per_second", sessions[0].images / seconds


# Of the last part of a column's name, the unit; shares are of 1.
UNITS = {
    "seconds": "s", "epoch_seconds": "s", "seconds_to_best": "s", "p50": "ms", "p90": "ms", "p99": "ms", "rounds": "ms",
    "params": "parameters", "trainable_params": "parameters", "training_only_params": "parameters", "macs": "MACs",
    "flops": "FLOPs", "training_macs": "MACs", "activations": "elements", "images_per_second": "images/s",
    "train_peak": "bytes", "parameters": "bytes", "gradients": "bytes", "optimizer": "bytes", "val_top1": "share",
    "test_top1": "share", "test_top5": "share", "macro_f1": "share", "ece": "share", "train_top1": "share",
    "test_loss": "nats", "train_loss": "nats", "val_loss": "nats", "inference_per_image": "J",
    "training_per_image": "J", "train": "pictures", "val": "pictures", "test": "pictures",
    "images_per_second_batch": "pictures",
}  # fmt: skip


def columns(table: DataFrame) -> list[dict[str, str | None]]:
    """Of each column its name, type, unit (None: it has none) and what it is."""
    known = {quantity.path: quantity for quantity in QUANTITIES if quantity.path}
    found: list[dict[str, str | None]] = []
    for name in table.columns:
        base = re.sub(r"(\.ci95)?_(low|high|mean)$", "", name)
        last = base.rpartition(".")[2]
        unit = "bytes" if name.startswith("efficiency.memory.") and last == "activations" else UNITS.get(last)
        if base.startswith("timing.") and base.endswith("_seconds"):
            unit = "s"
        if name.endswith("images_per_second"):
            unit = "images/s"
        if name.startswith("efficiency.latency_ms.ci95"):
            unit = "ms"
        about = known[base].about if base in known else f"the record's {base.replace('.', ' → ')}"
        found.append({"column": name, "type": str(table[name].dtype), "unit": unit, "about": about})
    return found

"""The results table of a run: one row a model, from the records of one protocol on one dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.protocol import Protocol
from bench.records import Record, RecordError, read_record, record_files, write_text
from bench.report.figures import draw_accuracy

HOW_TO_READ = (
    "Best test top-1 first. Validation chose the epoch (best epoch); the test pictures were used once, at that "
    "epoch's weights. Parameters and trainable parameters in millions; GMACs: billions of multiply-accumulates of one "
    "picture's forward pass; s/epoch: training alone; total s: the whole trial, validation and measuring included; "
    "peak MB: the most memory (10⁶ bytes) that a training step needs; macro F1: the mean of the classes' F1."
)
WITH_SEEDS = "± is half of the 95 % interval of the mean over seeds (Student's t)."

Value = Callable[[Record], float | None]


def _training(name: str) -> Value:
    return lambda record: getattr(record.training, name) if record.training else None


def _accuracy(name: str, scale: float = 1.0) -> Value:
    return lambda record: scale * getattr(record.accuracy, name) if record.accuracy else None


def _millions(value: float | None) -> float | None:
    return None if value is None else value / 1e6


def _seconds_an_epoch(record: Record) -> float | None:
    seconds = record.training.epoch_seconds if record.training else []
    return sum(seconds) / len(seconds) if seconds else None


def _gmacs(record: Record) -> float | None:
    macs = (record.efficiency or {}).get("macs")
    return None if macs is None else macs / 1e9


def _peak(record: Record) -> float | None:
    return _millions((record.efficiency or {}).get("memory", {}).get("train_peak"))


# Header, value, decimals.
COLUMNS: list[tuple[str, Value, int]] = [
    ("params (M)", lambda record: _millions(record.model.params), 2),
    ("trainable (M)", lambda record: _millions(record.model.trainable_params), 2),
    ("GMACs", _gmacs, 3),
    ("s/epoch", _seconds_an_epoch, 1),
    ("total s", lambda record: record.seconds, 1),
    ("peak MB", _peak, 0),
    ("best epoch", _training("best_epoch"), 0),
    ("val top-1 (%)", _accuracy("val_top1", 100), 2),
    ("test top-1 (%)", _accuracy("test_top1", 100), 2),
    ("macro F1", _accuracy("macro_f1"), 4),
]


def matching(folder: Path, protocol_fingerprint: str, data_fingerprint: str) -> list[Record]:
    """The folder's records of that protocol and that data; damaged ones are passed over."""
    found = []
    for file in record_files(folder):
        try:
            record = read_record(file)
        except RecordError:
            continue
        if (record.protocol.fingerprint, record.data.fingerprint) == (protocol_fingerprint, data_fingerprint):
            found.append(record)
    return found


def results_table(records: Iterable[Record], style: str = "simple") -> str:
    """One row a model, best mean test top-1 first, failed ones last; `style` is tabulate's."""
    by_model: dict[str, list[Record]] = {}
    for record in records:
        by_model.setdefault(record.model.name, []).append(record)
    ordered = sorted(by_model.items(), key=lambda item: (-_mean_top1(item[1]), item[0]))
    headers = ["model", *(header for header, _, _ in COLUMNS), "status"]
    rows = [
        [name, *(_cell(trials, value, decimals) for _, value, decimals in COLUMNS), _status(trials)]
        for name, trials in ordered
    ]
    alignment = ["left", *["right"] * len(COLUMNS), "left"]
    return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=alignment)


def write_run_page(folder: Path, protocol: Protocol, data_fingerprint: str, figure: bool = False) -> None:
    """Write README.md of a run's folder: the table, how to read it, what it was made under, and maybe a figure."""
    records = matching(folder, protocol.fingerprint, data_fingerprint)
    if not records:
        return
    first = records[0]
    drawn = figure and draw_accuracy(records, folder / "accuracy.png")
    machines = sorted({_machine(record) for record in records if record.environment})
    data = first.data
    lines = [
        f"# {folder.name}",
        "",
        f"{protocol.description}" if protocol.description else f"Protocol {protocol.name}.",
        "",
        results_table(records, "github"),
        "",
        *(["![Test top-1 against GMACs and against seconds of an epoch](accuracy.png)", ""] if drawn else []),
        HOW_TO_READ + (f" {WITH_SEEDS}" if len({record.seed for record in records}) > 1 else ""),
        "",
        f"- Data: {data.name}, {len(data.classes)} classes; {data.train:,} pictures for training, {data.val:,} for "
        f"validation, {data.test:,} for testing; fingerprint `{data.fingerprint[:12]}`.",
        f"- Protocol: fingerprint `{protocol.fingerprint[:12]}`; its settings are in each record.",
        *(f"- Machine: {machine}" for machine in machines),
        "- Each row can be traced to `<model>/seed<N>/record.json`.",
        "",
    ]
    write_text(folder / "README.md", "\n".join(lines))


def _machine(record: Record) -> str:
    environment: dict[str, Any] = record.environment or {}
    parts = [
        str(environment.get("device")),
        f"{environment.get('threads')} threads" if environment.get("device_kind") == "cpu" else "",
        str(environment.get("precision")),
        f"torch {environment.get('torch')}",
        f"timm {environment.get('timm')}",
    ]
    return ", ".join(part for part in parts if part) + "."


def _mean_top1(trials: Sequence[Record]) -> float:
    values = [trial.accuracy.test_top1 for trial in trials if trial.accuracy]
    return sum(values) / len(values) if values else -1.0


def _cell(trials: Sequence[Record], value: Value, decimals: int) -> str:
    values = [number for trial in trials if (number := value(trial)) is not None]
    if not values:
        return ""
    mean = sum(values) / len(values)
    spread = half_interval(values)
    if not spread:
        return f"{mean:.{decimals}f}"
    return f"{mean:.{decimals}f} ± {spread:.{decimals}f}"


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean (Student's t); 0 for a single value."""
    if len(values) < 2:
        return 0.0
    from scipy.stats import t

    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))


def _status(trials: Sequence[Record]) -> str:
    """`ok`, or what went wrong, with how many of the trials ended well where there are several."""
    failed = [trial for trial in trials if trial.status != "ok"]
    if not failed:
        return "ok"
    reason = f"{failed[0].status}: {failed[0].error.message}" if failed[0].error else failed[0].status
    reason = " ".join(reason.split()).replace("|", "¦")  # neither may break a table's row
    reason = reason if len(reason) <= 60 else reason[:59] + "…"
    good = len(trials) - len(failed)
    return f"{good} of {len(trials)} ok; {reason}" if good else reason

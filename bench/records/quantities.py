"""The quantities that models are compared by: where each stands in a record, its unit, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bench.records.record import Record


@dataclass(frozen=True)
class Quantity:
    """One quantity of a trial, in the unit in which it is shown."""

    key: str  # what the command line and the page call it: latency_ms
    label: str  # a table's header, with the unit: latency (ms)
    decimals: int
    better: Literal["higher", "lower"] | None
    value: Callable[[Record], float | None]
    about: str  # one sentence that explains it
    cost: bool = False  # an axis against which accuracy is drawn
    # The interval that the record itself gives for the value, in the same unit.
    interval: Callable[[Record], tuple[float, float] | None] = lambda record: None
    bounds: tuple[float, float] = (0.0, math.inf)  # no value, and so no end of an interval, lies outside
    # Whether other work on the machine disturbed the measurement.
    disturbed: Callable[[Record], bool] = lambda record: False


def _efficiency(*keys: str, scale: float = 1.0) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found: Any = record.efficiency or {}
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return None if found is None else float(found) * scale

    return value


def _accuracy(name: str, scale: float = 1.0) -> Callable[[Record], float | None]:
    return lambda record: scale * float(getattr(record.accuracy, name)) if record.accuracy else None


def _model(name: str) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found = getattr(record.model, name)
        return None if found is None else float(found) / 1e6

    return value


def _latency_interval(record: Record) -> tuple[float, float] | None:
    interval = ((record.efficiency or {}).get("latency_ms") or {}).get("ci95")
    return (float(interval[0]), float(interval[1])) if interval else None


def _latency_disturbed(record: Record) -> bool:
    return bool(((record.efficiency or {}).get("latency_ms") or {}).get("disturbed"))


def _throughput_disturbed(record: Record) -> bool:
    return bool((_best_throughput(record) or {}).get("disturbed"))


def _best_throughput(record: Record) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = (record.efficiency or {}).get("throughput") or []
    return max(found, key=lambda one: float(one["images_per_second"]), default=None)


def _throughput(record: Record) -> float | None:
    best = _best_throughput(record)
    return None if best is None else float(best["images_per_second"])


def _throughput_interval(record: Record) -> tuple[float, float] | None:
    interval = (_best_throughput(record) or {}).get("ci95")
    return (float(interval[0]), float(interval[1])) if interval else None


def _inference_memory(record: Record) -> float | None:
    """Of one picture where that was measured, else of the smallest batch that was."""
    peaks = ((record.efficiency or {}).get("memory") or {}).get("inference_peak") or {}
    return float(peaks[min(peaks, key=int)]) / 1e6 if peaks else None


def _seconds_an_epoch(record: Record) -> float | None:
    seconds = record.training.epoch_seconds if record.training else []
    return math.fsum(seconds) / len(seconds) if seconds else None


def _overfitting_gap(record: Record) -> float | None:
    training = record.training
    if training is None or not training.best_epoch or not training.history.train_top1:
        return None
    at = training.best_epoch - 1
    return 100 * (training.history.train_top1[at] - training.history.val_top1[at])


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("accuracy", "test top-1 (%)", 2, "higher", _accuracy("test_top1", 100),
             "share of the test pictures that the best epoch's weights classify rightly", bounds=(0, 100)),
    Quantity("val_accuracy", "val top-1 (%)", 2, "higher", _accuracy("val_top1", 100),
             "the same of the validation pictures, by which the epoch was chosen", bounds=(0, 100)),
    Quantity("macro_f1", "macro F1", 4, "higher", _accuracy("macro_f1"), "mean over the classes of their F1",
             bounds=(0, 1)),
    Quantity("ece", "ECE", 4, "lower", _accuracy("ece"),
             "expected calibration error: how far confidence is from accuracy, 15 bins", bounds=(0, 1)),
    Quantity("params", "params (M)", 2, "lower", _model("params"), "parameters, in millions", cost=True),
    Quantity("trainable", "trainable (M)", 2, None, _model("trainable_params"),
             "parameters that train, in millions", cost=True),
    Quantity("gmacs", "GMACs", 3, "lower", _efficiency("macs", scale=1e-9),
             "billions of multiply-accumulates of one picture's forward pass", cost=True),
    Quantity("activations", "M act.", 2, "lower", _efficiency("activations", scale=1e-6),
             "output elements of convolutions and matrix products of one picture, in millions", cost=True),
    Quantity("latency_ms", "latency (ms)", 2, "lower", _efficiency("latency_ms", "p50"),
             "median time of one picture", cost=True, interval=_latency_interval, disturbed=_latency_disturbed),
    Quantity("throughput", "images/s", 0, "higher", _throughput,
             "pictures classified in a second, at the best batch size measured", interval=_throughput_interval,
             disturbed=_throughput_disturbed),
    Quantity("memory", "peak MB", 0, "lower", _efficiency("memory", "train_peak", scale=1e-6),
             "the most memory (10⁶ bytes) that a training step needs", cost=True),
    Quantity("inference_memory", "inference MB", 0, "lower", _inference_memory,
             "the most memory (10⁶ bytes) of inference, at the smallest batch measured", cost=True),
    Quantity("epoch_seconds", "s/epoch", 1, "lower", _seconds_an_epoch, "mean seconds of a training epoch", cost=True),
    Quantity("seconds_to_best", "s to best", 1, "lower",
             lambda record: record.training.seconds_to_best if record.training else None,
             "seconds of training and validation until the best epoch", cost=True),
    Quantity("best_epoch", "best epoch", 0, None,
             lambda record: float(record.training.best_epoch) if record.training else None,
             "the epoch with the best validation top-1"),
    Quantity("total_seconds", "total s", 1, "lower", lambda record: record.seconds,
             "seconds of the whole trial, validation and measuring included"),
    Quantity("overfitting", "overfitting gap (points)", 1, "lower", _overfitting_gap,
             "training minus validation top-1 at the best epoch, in percentage points",
             bounds=(-100, 100)),
    Quantity("energy", "J/image", 4, "lower", _efficiency("energy_joules", "inference_per_image"),
             "energy of classifying one picture, in joules", cost=True),
)  # fmt: skip

BY_KEY = {quantity.key: quantity for quantity in QUANTITIES}

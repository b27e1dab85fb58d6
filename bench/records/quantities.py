"""The quantities that models are compared by: one row a quantity, with all that any output wants to know of it.

A quantity is pure data. Its `path` leads to the value in a record (`efficiency.latency_ms.p50`), so that a plugin's
quantity can stand in the record beside its value, and every output knows it as it knows the bundled ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.records.efficiency import others_alone

# What a number typed with a unit is worth in the unit in which the quantity is shown: `--max memory=1GB`.
UNITS: dict[str, dict[str, float]] = {
    "%": {"%": 1.0},
    "points": {},
    "share": {"%": 0.01},
    "k": {},
    "M": {"k": 1e-3, "M": 1.0, "G": 1e3},
    "G": {"M": 1e-3, "G": 1.0},
    "µs": {"s": 1e6},
    "ms": {"ms": 1.0, "s": 1e3},
    "s": {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    "B": {},
    "kB": {},
    "MB": {"B": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3, "KiB": 1024e-6, "MiB": 1024**2 / 1e6, "GiB": 1024**3 / 1e6},
    "images/s": {},
    "J": {"mJ": 1e-3, "J": 1.0},
    "": {},
}
# The unit a thousandth as large, and how a sentence says either.
SMALLER = {
    "G": ("M", "billions", "millions"), "M": ("k", "millions", "thousands"), "k": ("", "in thousands", ""),
    "MB": ("kB", "10⁶", "10³"), "kB": ("B", "10³ ", ""), "s": ("ms", "seconds", "milliseconds"), "ms": ("µs", "", ""),
}  # fmt: skip
# How the values of two models are told apart: on the same test pictures; exactly; by the ratio of times; not, but for
# what several seeds say.
Kind = Literal["accuracy", "count", "time", "score"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity of a trial, in the unit in which it is shown.

    `path`, `interval`, `rounds` and `disturbed` are dotted paths into the record (of a plugin's MeasureSpec: into what
    its measurement gave). `scale` takes what stands there to the unit shown.

    >>> size = bench.Quantity(key="file_mb", label="file (MB)", about="the weights' file", path="bytes", scale=1e-6,
    ...                       unit="MB", kind="count", better="lower")
    >>> size.value({"bytes": 2_500_000})
    2.5
    """

    key: str  # what the command line, the tables and the page call it: latency_ms
    label: str  # a table's header, with the unit: latency (ms)
    about: str  # one sentence that explains it
    path: str
    kind: Kind
    better: Literal["higher", "lower"] | None
    decimals: int = 2
    unit: str = ""  # one of UNITS
    scale: float = 1.0
    interval: str = ""  # of the 95 % interval that the record gives: [low, high]
    rounds: str = ""  # of the list of single measurements that the value sums up
    disturbed: str = ""  # of the text that says what disturbed the measurement, null where nothing did
    series: str = ""  # of a timing session (sessions.py): the value is its time of a run, and in no record
    least: float = 0.0  # no value lies below or above these
    most: float | None = None
    cost: bool = False  # an axis against which accuracy is drawn
    judged: bool = False  # by `compare`, unless quantities are named
    table: bool = True  # a column of the report's tables
    run_table: bool = False  # of what `run` prints
    page: bool = False  # of the page's table as it starts
    dominance: bool = False  # counts when models are said to be dominated by others
    front: bool = False  # findings give its Pareto front with accuracy
    overview: bool = False  # in the overview figure

    @property
    def exact(self) -> bool:
        """Counted, not measured: the same at every trial, so that a difference is never noise."""
        return self.kind == "count"

    @property
    def in_points(self) -> bool:
        """Whether differences are said in percentage points, not as shares."""
        return self.unit in ("%", "points")

    def shown_for(self, values: Iterable[float]) -> Quantity:
        """The same in a unit so small that none of the values, but 0, is printed as 0; itself where it is or none is.

        A quantity in another unit is for showing alone: limits, files and the page's axes have the first one.
        """
        own = [abs(value) for value in values if value]
        shown, factor = self, 1.0
        while own and not float(f"{min(own) * factor:.{shown.decimals}f}") and shown.unit in SMALLER:
            unit, large, small = SMALLER[shown.unit]
            word = re.compile(rf"(?<![A-Za-z]){shown.unit}(?=MACs|[^A-Za-z]|$)")
            factor *= 1000
            shown = replace(
                shown,
                unit=unit,
                label=word.sub(unit, shown.label).replace(" ()", "").strip(),
                about=shown.about.replace(large, small) if large else shown.about,
                scale=shown.scale * 1000,
            )
        return shown

    @property
    def units(self) -> dict[str, float]:
        """The units in which a limit may be typed, and what each is worth in the one shown."""
        return UNITS.get(self.unit, {})

    def value(self, record: Any) -> float | None:
        """Its value in that record (or measurement); None where it was not measured."""
        return self._scaled(at(record, self.path))

    def interval_in(self, record: Any) -> tuple[float, float] | None:
        """The 95 % interval that the record itself gives for the value."""
        found = at(record, self.interval) if self.interval else None
        low, high = (self._scaled(end) for end in found) if found else (None, None)
        return None if low is None or high is None else (low, high)

    def rounds_in(self, record: Any) -> list[float]:
        """The single measurements that the value sums up, in their order; none: not known."""
        found = at(record, self.rounds) if self.rounds else None
        return [value for one in found or () if (value := self._scaled(one)) is not None]

    def of_run(self, seconds: float, images: int) -> float:
        """The value where a run of so many images takes so many seconds: images a second, or the time in its unit."""
        return images / seconds if self.unit == "images/s" else seconds * self.units.get("s", 1.0)

    def disturbed_in(self, record: Any) -> str | None:
        """What disturbed the measurement, if anything did."""
        found = at(record, self.disturbed) if self.disturbed else None
        return others_alone(str(found)) if found else None

    def _scaled(self, found: Any) -> float | None:
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            return None
        return float(found) * self.scale


def at(place: Any, path: str) -> Any:
    """What lies at the dotted path of attributes and keys; None where the path ends before."""
    for key in path.split(".") if path else ():
        place = place.get(key) if isinstance(place, dict) else getattr(place, key, None)
        if place is None:
            return None
    return place


QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        key="accuracy", label="test top-1 (%)", path="accuracy.test_top1", kind="accuracy", better="higher", unit="%",
        about="share of the test pictures that the best epoch's weights classify rightly", scale=100, most=100,
        judged=True, run_table=True, page=True, dominance=True,
    ),
    Quantity(
        key="val_accuracy", label="val top-1 (%)", path="accuracy.val_top1", kind="score", better="higher", unit="%",
        about="the same of the validation pictures, by which the epoch was chosen", scale=100, most=100,
        table=False, run_table=True,
    ),
    Quantity(
        key="macro_f1", label="macro F1", path="accuracy.macro_f1", kind="score", better="higher", unit="share",
        about="mean over the classes of their F1", decimals=4, most=1, run_table=True,
    ),
    Quantity(
        key="ece", label="ECE", path="accuracy.ece", kind="score", better=None, unit="share",
        about="expected calibration error: how far confidence is from accuracy, 15 bins", decimals=4, most=1,
    ),
    Quantity(
        key="params", label="params (M)", path="model.params", kind="count", better="lower", unit="M",
        about="parameters, in millions", scale=1e-6, cost=True,
        judged=True, run_table=True, page=True, dominance=True,
    ),
    Quantity(
        key="trainable", label="trainable (M)", path="model.trainable_params", kind="count", better=None, unit="M",
        about="parameters that train, in millions", scale=1e-6, cost=True, run_table=True,
    ),
    Quantity(
        key="gmacs", label="GMACs", path="efficiency.macs", kind="count", better="lower", unit="G",
        about="billions of multiply-accumulates of one picture's forward pass", decimals=3, scale=1e-9, cost=True,
        judged=True, run_table=True, page=True, dominance=True, front=True, overview=True,
    ),
    Quantity(
        key="activations", label="M act.", path="efficiency.activations", kind="count", better="lower", unit="M",
        about="output elements of convolutions and matrix products of one picture, in millions", scale=1e-6, cost=True,
        judged=True,
    ),
    Quantity(
        key="latency_ms", label="latency (ms)", path="", series="latency", kind="time", better="lower",
        unit="ms", about="median time of one picture", cost=True,
        judged=True, page=True, dominance=True, front=True,
    ),
    Quantity(
        key="throughput", label="images/s", path="", series="throughput", kind="time",
        better="higher", unit="images/s", about="pictures classified in a second, in batches of training's size",
        decimals=0, judged=True, page=True,
    ),
    Quantity(
        key="step_ms", label="step (ms)", path="", series="step", kind="time", better="lower", unit="ms",
        about="median time of a training step, every layer computed", decimals=1, cost=True, judged=True, front=True,
        overview=True,
    ),
    Quantity(
        key="memory", label="peak MB", path="efficiency.memory.train_peak", kind="count", better="lower", unit="MB",
        about="the most memory (10⁶ bytes) that a training step needs", decimals=0, scale=1e-6, cost=True,
        judged=True, run_table=True, page=True, dominance=True,
    ),
    Quantity(
        key="inference_memory", label="inference MB", path="efficiency.memory.least_inference", kind="count",
        better="lower", unit="MB", about="the most memory (10⁶ bytes) of inference, at the smallest batch measured",
        decimals=0, scale=1e-6, cost=True, judged=True, table=False,
    ),
    Quantity(
        key="epoch_seconds", label="s/epoch", path="training.seconds_per_epoch", kind="time", better="lower", unit="s",
        about="mean seconds of a training epoch after the first", decimals=1, cost=True,
        rounds="training.steady_seconds",
        judged=True, run_table=True, page=True,
    ),
    Quantity(
        key="seconds_to_best", label="s to best", path="training.seconds_to_best", kind="time", better="lower",
        unit="s", about="seconds of training and validation until the best epoch", decimals=1, cost=True,
    ),
    Quantity(
        key="best_epoch", label="best epoch", path="training.best_epoch", kind="score", better=None,
        about="the epoch with the best validation top-1, of equal ones the lowest validation loss", decimals=0,
        table=False, run_table=True,
    ),
    Quantity(
        key="total_seconds", label="total s", path="seconds", kind="time", better="lower", unit="s",
        about="seconds of the whole trial, validation and measuring included", decimals=1, table=False, run_table=True,
    ),
    Quantity(
        key="overfitting", label="overfitting gap (points)", path="training.overfitting_gap", kind="score",
        better=None, unit="points", decimals=1, least=-100, most=100,
        about="training minus validation top-1 at the best epoch, in percentage points",
    ),
    Quantity(
        key="energy", label="J/image", path="efficiency.energy_joules.inference_per_image", kind="time",
        better="lower", unit="J", about="energy of classifying one picture, in joules", decimals=4, cost=True,
        judged=True,
    ),
)  # fmt: skip

BY_KEY = {quantity.key: quantity for quantity in QUANTITIES}


def with_plugins(own: Iterable[Quantity]) -> tuple[Quantity, ...]:
    """The bundled quantities, then those of plugins, each key once."""
    found = dict(BY_KEY)
    for quantity in own:
        found.setdefault(quantity.key, quantity)
    return tuple(found.values())

"""What happens while bench works, told to whoever implements `bench_event`: the progress bar, or a plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Note:
    """Something worth a line: what was chosen, left out, or found already done."""

    text: str


@dataclass(frozen=True)
class Checking:
    """`model` is about to be built without its weights, to see whether it can be; None: the data are next."""

    model: str | None


@dataclass(frozen=True)
class DataProgress:
    """`done` of `total` pictures of `dataset` are decoded."""

    dataset: str
    done: int
    total: int


@dataclass(frozen=True)
class Expected:
    """How many seconds each trial that is left, a model and a seed, is expected to take."""

    seconds: Mapping[tuple[str, int], float]


@dataclass(frozen=True)
class TrialStarted:
    """Trial number `index` of `total` (from 1) begins, under the protocol of that name; its files go to `folder`.

    `epochs` are those of all its `tries`: more than one where the protocol tunes, and each counts its epochs on.
    """

    model: str
    seed: int
    epochs: int
    index: int
    total: int
    protocol: str
    folder: Path
    tries: int = 1


@dataclass(frozen=True)
class EpochEnded:
    """Epoch number `epoch` of `epochs` at most (from 1) is trained and validated; times in seconds, top-1 in 0..1."""

    model: str
    seed: int
    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    val_top1: float
    seconds: float


@dataclass(frozen=True)
class TrialLeft:
    """A trial that was to begin is left to another run, which is at it already."""

    model: str
    seed: int


@dataclass(frozen=True)
class TrialEnded:
    """The trial's record is written, into `folder`; `seconds` from its start, `message` says what went wrong.

    Told of each that began, where the run is interrupted, too. A finished record that was there stays where this trial
    did not end well: the record's status is then another than this one.
    """

    model: str
    seed: int
    status: str
    seconds: float
    index: int
    total: int
    folder: Path
    test_top1: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class Measuring:
    """`quantity` of `model` is about to be measured; `done` of `total` such measurements are over.

    `brief`: of a trial that is over, where it takes a moment.
    """

    model: str
    quantity: str
    done: int
    total: int
    brief: bool = False


@dataclass(frozen=True)
class TimingTogether:
    """Models are timed side by side: series number `done` + 1 of `total`, and `share` of its longest time is over.

    0 is its start, 1 its end.
    """

    series: str
    models: int
    done: int
    total: int
    share: float


@dataclass(frozen=True)
class ReportProgress:
    """`done` of `total` files of a report are made; `file`, a path in the results folder, is the last of them."""

    done: int
    total: int
    file: str


Event = (
    Note
    | Checking
    | DataProgress
    | Expected
    | TrialStarted
    | EpochEnded
    | TrialLeft
    | TrialEnded
    | Measuring
    | TimingTogether
    | ReportProgress
)
Tell = Callable[[Event], None]


def tell_nobody(event: Event) -> None:
    """What is told of where nobody asked to hear it."""

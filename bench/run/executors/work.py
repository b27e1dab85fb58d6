"""What executors are given to do: from here the road leads into the trial, the check and the measurements.

Each is sent to another process by its name and imports there what it needs, so that the user's process stays light.
`emit` is told of what happens on the way.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.events import Tell
from bench.records.measurement import Measurement
from bench.records.record import Record
from bench.request import (
    AfterwardsRequest,
    AppliedRequest,
    Checked,
    CheckRequest,
    Devices,
    Forecast,
    MeasureRequest,
    PartRequest,
    Ready,
    TimingRequest,
    TrialSpec,
)

if TYPE_CHECKING:
    from bench.run.contract import Finding


def default_protocol(device: str, emit: Tell) -> str:
    """The protocol for a run that names none: `cifar10` where CUDA is, else `quick`."""
    from bench.device import choose_device

    return "cifar10" if choose_device(device).kind == "cuda" else "quick"


def find_devices(name: str, precision: str, emit: Tell) -> Devices:
    """What trials on the device of that name would run on; RequestError where they could not, in that precision."""
    from bench.run import check

    return check.find_devices(name, precision)


def check_models(request: CheckRequest, emit: Tell) -> dict[str, Checked]:
    """Which weights each model of a run starts from, and which options it has; RequestError for a mistake."""
    from bench.run import check

    return check.check_models(request, emit)


def find_unfit(request: CheckRequest, emit: Tell) -> dict[str, str]:
    """Why an extension of it does not fit, of each of the models whose do not."""
    from bench.run import check

    return check.find_unfit(request, emit)


def prepare_data(request: CheckRequest, emit: Tell) -> Ready:
    """The data of a run, decoded; RequestError for what the user has to change."""
    from bench.run import check

    return check.prepare_data(request, emit)


def run_trial(spec: TrialSpec, emit: Tell) -> Record:
    """One model trained, evaluated and measured; its record, which is written."""
    from bench.run import trial

    return trial.run(spec, emit)


def forecast(spec: TrialSpec, emit: Tell) -> Forecast:
    """What the trial will need and take, by a few measured steps; nothing of it is kept."""
    from bench.run import forecast

    return forecast.forecast(spec, emit)


def measure(request: MeasureRequest, emit: Tell) -> list[Measurement]:
    """Models measured as they are; their measurements, which are written."""
    from bench.run import untrained

    return untrained.measure(request, emit)


def apply_extensions(request: AppliedRequest, emit: Tell) -> list[Path]:
    """Extensions applied to trained models; the folders of the records, which are written."""
    from bench.run import applied

    return applied.apply_extensions(request, emit)


def measure_finished(request: AfterwardsRequest, emit: Tell) -> list[str]:
    """Measurements taken of trials that are over, into their records; a line for each that failed."""
    from bench.run import afterwards

    return afterwards.measure_finished(request, emit)


def time_models(request: TimingRequest, emit: Tell) -> list[Path]:
    """Trained models timed side by side; the files of the sessions, which are written."""
    from bench.run import side_by_side

    return side_by_side.time_models(request, emit)


def examine(device: str, emit: Tell) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """This machine as records describe it, and what is missing for which command."""
    from bench.run import untrained

    return untrained.examine(device, emit)


def check_part(request: PartRequest, emit: Tell) -> list[Finding]:
    """What is found of a part of a plugin, held against the contract."""
    from bench.run import contract

    return contract.check_part(request, emit)


def trainable_layers(request: CheckRequest, classes: int, emit: Tell) -> list[dict[str, Any]]:
    """The layers of the request's one model, with a head of so many classes, and which of them train."""
    from bench.run import check

    return check.trainable_layers(request, classes)

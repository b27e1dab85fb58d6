"""How long trials will take and what they need, from earlier trials of this machine; and when all are done.

Pure functions on records; what no record knows is asked of `forecast`.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.files import file_name
from bench.protocol import Protocol
from bench.records.machine import same_machine
from bench.records.record import NAME, Record, RecordError, read_record
from bench.records.sessions import BLOCK, LEAST_BLOCKS, longest
from bench.request import Forecast, TrialSpec

# How far an estimate may be off, as a share of it: of several trials like it (no less), of one like it, of one that is
# drawn out to other epochs and pictures, of a few measured steps. results/reference/README.md holds them against
# what was then measured.
SEVERAL, ONE, DRAWN_OUT, STEPS = 0.05, 0.10, 0.15, 0.20
# A picture that is trained on costs so many times one that is only classified: forward, and twice that backward.
TRAINED = 3
# Settings on which the cost of a picture depends; the model, its options and its code besides.
COSTLY = ("data.image_size", "train.what", "train.batch_size", "train.micro_batch", "optimizer.name", "augmentation")


@dataclass(frozen=True)
class Estimate:
    """Seconds of a trial, and how far they may be off as a share; bytes of a training step; and what it rests on.

    `step`: seconds of a step. None: not known.
    """

    seconds: float | None
    share: float
    memory: int | None
    basis: str
    step: float | None = None


NOTHING = Estimate(None, 0.0, None, "nothing like it was run on this machine")


def earlier(results: Path, models: Iterable[str]) -> dict[str, list[Record]]:
    """What was recorded of these models anywhere in a results folder."""
    found: dict[str, list[Record]] = {}
    for model in models:
        found[model] = []
        for file in sorted(results.glob(f"*/{file_name(model)}/seed*/{NAME}")):
            try:
                record = read_record(file)
            except (OSError, RecordError):
                continue  # damaged: it says nothing
            if record.status == "ok" and record.training is not None:
                found[model].append(record)
    return found


def from_records(spec: TrialSpec, records: Sequence[Record], environment: Mapping[str, Any]) -> Estimate:
    """What earlier trials of that model say of this one, where they ran on a machine with that environment."""
    here = [one for one in records if same_machine(one.environment, environment) and _costs_alike(spec, one)]
    alike = [one for one in here if one.protocol.fingerprint == spec.protocol.fingerprint and _counts_alike(spec, one)]
    alike = [one for one in alike if _in_one_go(one)]
    drawn = [] if alike else [long for one in here if (long := _drawn_out(spec, one)) is not None]
    seconds = [one.seconds for one in alike if one.seconds is not None] or drawn
    if not seconds:
        return NOTHING
    middle = statistics.median(seconds)
    spread = max(abs(one / middle - 1) for one in seconds)
    least = (SEVERAL if len(alike) > 1 else ONE) if alike else DRAWN_OUT
    peaks = [one.efficiency.memory.train_peak for one in here if one.efficiency and one.efficiency.memory]
    memory = next((int(peak) for peak in peaks if peak is not None), None)
    basis = f"{len(seconds)} earlier trial{'' if len(seconds) == 1 else 's'}"
    step = next((one for one in map(step_seconds, here) if one is not None), None)
    return Estimate(middle, max(spread, least), memory, basis if alike else f"{basis} of other length", step)


def from_forecast(found: Forecast) -> Estimate:
    """What a few measured steps say."""
    basis = "a few measured steps" if found.seconds is not None else "a count of its tensors"
    return Estimate(
        found.seconds, STEPS, found.peak, basis if found.seconds or found.peak else NOTHING.basis, found.step
    )


def step_seconds(record: Record) -> float | None:
    """Of a training step, as the trial measured it, or as it trained; None where neither is known."""
    efficiency, training = record.efficiency, record.training
    if efficiency is not None and efficiency.train_step is not None and efficiency.train_step.seconds is not None:
        return float(efficiency.train_step.seconds)
    batch = record.protocol.settings.get("train", {}).get("batch_size")
    if training is None or training.images_per_second is None or not isinstance(batch, int):
        return None
    return batch / float(training.images_per_second)


def session_seconds(series: int, models: int, steps: float) -> float:
    """Of a timing session at most: so long for each series, but so many rounds of the longest of them at least.

    `steps` is the seconds of a step of each model, added up: one series is of steps, another of batches classified.
    """
    rounds = BLOCK * LEAST_BLOCKS
    least = [rounds * steps, rounds * steps / TRAINED, *[0.0] * series][:series]
    return sum(max(longest(models), one) for one in least)


def _costs_alike(spec: TrialSpec, record: Record) -> bool:
    known = spec.known
    if known is None or (record.model.code, record.model.options) != (known.code, known.options):
        return False
    try:
        settings = Protocol.model_validate({"name": record.protocol.name, **record.protocol.settings}).settings()
    except ValidationError:  # of a version that knew other settings
        return False
    return all(_at(settings, name) == _at(spec.protocol.settings(), name) for name in COSTLY)


def _at(settings: Any, name: str) -> Any:
    for key in name.split("."):
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings


def _counts_alike(spec: TrialSpec, record: Record) -> bool:
    return all(getattr(record.data, part) == count for part, count in spec.counts.items())


def _in_one_go(record: Record) -> bool:
    """Whether one process did all of it: else its seconds are those of the last."""
    return record.training is not None and len(record.training.warm_up_epochs) <= 1


def _drawn_out(spec: TrialSpec, record: Record) -> float | None:
    """The seconds of this trial, from one with other epochs or pictures; None where that one does not say."""
    training = record.training
    if training is None or training.tuning is not None or record.seconds is None or not _in_one_go(record):
        return None
    prefix = float((training.frozen_prefix or {}).get("seconds", 0.0))
    own, other = (_pictures(counts) for counts in (spec.counts, record.data.model_dump()))
    passes = len(spec.protocol.tries) * spec.protocol.train.epochs
    return (
        prefix * own / other
        + (training.seconds - prefix) * own / other * passes / training.epochs
        + (record.seconds - training.seconds) * max(1.0, spec.counts["test"] / max(1, record.data.test))
    )


def _pictures(counts: Mapping[str, Any]) -> float:
    return float(TRAINED * counts["train"] + counts["val"])


def makespan(seconds: Iterable[float], slots: int) -> float:
    """When the last of them ends, where each begins in the slot that is free first, in their order."""
    free = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def longest_first(specs: Sequence[TrialSpec], estimates: Mapping[tuple[str, int], Estimate]) -> list[TrialSpec]:
    """The trials, the longest first: so the last to end are short ones. In their own order where any is not known."""
    known = {key: one.seconds for key, one in estimates.items() if one.seconds is not None}
    if any((spec.model, spec.seed) not in known for spec in specs):
        return list(specs)
    return sorted(specs, key=lambda spec: -known[spec.model, spec.seed])

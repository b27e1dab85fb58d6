"""What a run will take: each trial that is left, longest first, when all are done, and what will not fit."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import RequestError
from bench.events import Expected, Note, Tell
from bench.files import amount
from bench.hookspecs import DiedError, TimedOutError
from bench.records.comparison import Trial, comparisons
from bench.request import TrialSpec
from bench.run.estimates import (
    NOTHING,
    Estimate,
    earlier,
    from_forecast,
    from_records,
    longest_first,
    makespan,
    session_seconds,
    step_seconds,
)
from bench.run.executors import follow, work
from bench.run.sweep import Sweep
from bench.run.timing import lacks_timing


@dataclass(frozen=True)
class Outlook:
    """The trials of a run that are left, with an estimate of each; `done` are recorded, `slots` run at once.

    `timing` is the most seconds of the timing session at the end. `memory` is what a device has, in bytes. `uncounted`:
    the measurements on request, of which nobody knows how long they take.
    """

    folder: Path
    done: int
    trials: list[tuple[TrialSpec, Estimate]]
    slots: int
    timing: float
    memory: int | None
    uncounted: tuple[str, ...] = ()

    @property
    def unknown(self) -> int:
        """Of how many trials it is not known how long they take."""
        return sum(estimate.seconds is None for _, estimate in self.trials)

    @property
    def seconds(self) -> float:
        """Until all is done whose length is known."""
        return makespan((one.seconds for _, one in self.trials if one.seconds is not None), self.slots) + self.timing

    @property
    def share(self) -> float:
        """How far that may be off, as a share: estimates are off alike, since they rest on alike things."""
        known = [one for _, one in self.trials if one.seconds]
        total = sum(one.seconds or 0.0 for one in known)
        return sum((one.seconds or 0.0) * one.share for one in known) / total if total else 0.0

    @property
    def too_large(self) -> list[str]:
        """A line for each model whose training step will not fit into the device's memory."""
        if self.memory is None:
            return []
        found = {spec.model: one.memory for spec, one in self.trials if one.memory and one.memory > self.memory}
        return [
            f"{model} will not fit: a training step takes {amount(peak)}, the device has {amount(self.memory)}; "
            "--fit computes its batches in parts"
            for model, peak in found.items()
            if peak is not None
        ]

    @property
    def line(self) -> str:
        """How long it takes, as a sentence for the first lines of a run; empty where nothing is left, or known."""
        known = len(self.trials) - self.unknown
        if not known:
            return ""
        beside = f", and {self.unknown} of which nothing is known yet" if self.unknown else ""
        rests = f"by earlier trials: {trials(known)}{beside}"
        return f"takes about {said(self.seconds)} (± {self.share:.0%}){self.besides}, {rests}"

    @property
    def besides(self) -> str:
        """What is not in `seconds`, behind them; empty where all is."""
        return f", and what measuring {' and '.join(self.uncounted)} takes" if self.uncounted else ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "results": str(self.folder),
            "done": self.done,
            "slots": self.slots,
            "trials": [
                {
                    "model": spec.model,
                    "seed": spec.seed,
                    "seconds": one.seconds,
                    "share": one.share if one.seconds is not None else None,
                    "peak_bytes": one.memory,
                    "basis": one.basis,
                }
                for spec, one in self.trials
            ],
            "timing_seconds": self.timing,
            "seconds": self.seconds,
            "share": self.share,
            "unknown": self.unknown,
            "uncounted": list(self.uncounted),
            "too_large": self.too_large,
        }


def trials(count: int) -> str:
    """So many, as one says it."""
    return f"{count} trial{'' if count == 1 else 's'}"


def said(seconds: float) -> str:
    """Seconds as an estimate is said: no more exact than it is."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def outlook(
    sweep: Sweep, recorded: Collection[Trial], series: int, tell: Tell, *, gpus: int | None = None, ask: bool = False
) -> Outlook:
    """What is left of the run, by earlier trials; where they say nothing and `ask`, by a few steps of each model.

    `recorded` are the trials of its folder, `series` is how many times of each model a session takes; `gpus` counts on
    other devices than there are.
    """
    request, missing = sweep.request, sweep.missing
    models = dict.fromkeys(spec.model for spec in missing)
    records = earlier(request.place.results, models)
    estimates: dict[tuple[str, int], Estimate] = {}
    asked: dict[str, Estimate] = {}
    for spec in missing:
        environment = {**sweep.devices.environment, "sharing": sweep.where.sharing}
        if sweep.where.threads is not None:
            environment["threads"] = sweep.where.threads
        found = from_records(spec, records[spec.model], environment)
        if found is NOTHING and ask:
            if spec.model not in asked:
                asked[spec.model] = _asked(sweep, spec, tell)
            found = asked[spec.model]
        estimates[spec.model, spec.seed] = found
    timing = _timing(sweep, recorded, series, estimates) if request.options.timing and missing else 0.0
    left = [(spec, estimates[spec.model, spec.seed]) for spec in longest_first(missing, estimates)]
    return Outlook(
        sweep.folder,
        len(sweep.ended),
        left,
        gpus or len(sweep.where.devices),
        timing,
        sweep.devices.memory,
        request.options.measure if missing else (),
    )


def _timing(
    sweep: Sweep, recorded: Collection[Trial], series: int, estimates: Mapping[tuple[str, int], Estimate]
) -> float:
    """Seconds of the session at the end, at most; none where one has timed all models as they are."""
    steps = {model: one.step or 0.0 for (model, _), one in estimates.items()}
    for one in comparisons(recorded):
        if sweep.holds(one) and steps.keys() <= {own.model for own in one.finished} and not lacks_timing(one):
            return 0.0
    own = {*sweep.ended}
    steps |= {one.record.model.name: step_seconds(one.record) or 0.0 for one in recorded if one.folder in own}
    return session_seconds(series, len(steps), sum(steps.values()))


def _asked(sweep: Sweep, spec: TrialSpec, tell: Tell) -> Estimate:
    tell(Note(f"{spec.model}: a few steps are measured"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        placed = replace(spec, folder=Path(folder), place=replace(spec.place, device=sweep.where.devices[0]))
        try:
            found = sweep.executor.run(partial(work.forecast, placed), timeout=sweep.request.timeout)
            return from_forecast(follow(found, tell))
        except (DiedError, TimedOutError, RequestError) as error:
            tell(Note(f"{spec.model}: how long it takes is not known: {error or 'it took too long'}"))
            return NOTHING


def announce(sweep: Sweep, found: Outlook, tell: Tell) -> None:
    """Tell of it at the start of a run, and let the longest trials begin first where several run at once."""
    if found.line:
        tell(Note(found.line))
    for line in found.too_large:
        tell(Note(line))
    if not found.unknown and found.trials:
        tell(Expected(_seconds(found)))
    if len(sweep.where.devices) > 1:
        sweep.missing[:] = [spec for spec, _ in found.trials]


def _seconds(found: Outlook) -> Mapping[tuple[str, int], float]:
    return {(spec.model, spec.seed): one.seconds for spec, one in found.trials if one.seconds is not None}

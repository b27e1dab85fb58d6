"""What a report is made from: the trials of a results folder, grouped into the comparisons that may be made.

Only trials of one folder whose protocol, data and way of running agree are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.files import checksum, read_regular
from bench.records.archive import checksums
from bench.records.identity import Terms, terms_of
from bench.records.machine import same_machine
from bench.records.predictions import NAME
from bench.records.quantities import Quantity, with_plugins
from bench.records.record import NAME as RECORD
from bench.records.record import Record, RecordError, parse_record
from bench.records.sessions import Kept, read_sessions
from bench.records.sound import contradiction

APPLIED = "applied"  # in a trial's folder: records of its model with extensions applied after training


@dataclass(frozen=True)
class Trial:
    """A record and the folder that it lies in, beside `predictions.npz`."""

    folder: Path
    record: Record
    digest: str = ""  # SHA-256 of record.json

    @property
    def ended(self) -> str:
        """`ok`, or the status and what went wrong: `oom: CUDA out of memory`."""
        error = self.record.error
        return f"{self.record.status}: {error.message}" if error else self.record.status


@dataclass(frozen=True)
class Contender:
    """A model in a comparison: its trials, by seed; one or more. `sessions` are those that timed this very model."""

    model: str
    trials: tuple[Trial, ...]
    sessions: tuple[Kept, ...] = ()

    @cached_property
    def finished(self) -> tuple[Trial, ...]:
        """The trials that ended well."""
        return tuple(trial for trial in self.trials if trial.record.status == "ok" and trial.record.accuracy)

    @property
    def status(self) -> str:
        """`ok`, or what went wrong, with how many of the trials ended well where there are several."""
        failed = [trial for trial in self.trials if trial.record.status != "ok"]
        if not failed:
            return "ok"
        reasons = dict.fromkeys(trial.ended for trial in failed)
        good = len(self.trials) - len(failed)
        return "; ".join([f"{good} of {len(self.trials)} ok", *reasons] if good else reasons)

    @property
    def first(self) -> Record:
        """The record of one trial, a finished one if there is any, for what is the same in all."""
        return (self.finished or self.trials)[0].record


@dataclass(frozen=True)
class Comparison:
    """Models under one protocol on one dataset, best mean test top-1 first, those that never finished last."""

    folder: Path  # results/<protocol>
    name: str  # the folder's name; with a part of the fingerprint where the folder holds several comparisons
    contenders: tuple[Contender, ...]
    sessions: tuple[Kept, ...] = ()  # of timing, all on one machine, oldest first
    # What others have worked out from it, under keys of their own: once, however many outputs ask.
    worked_out: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was worked out: another process finds that again sooner than it is sent."""
        return {**{key: vars(self)[key] for key in ("folder", "name", "contenders", "sessions")}, "worked_out": {}}

    @cached_property
    def digest(self) -> str:
        """Of all that its records, predictions and timing sessions say, and where they lie."""
        lines = [
            f"{trial.folder.relative_to(self.folder)} {trial.digest} {checksums(trial.folder / NAME)}"
            for contender in self.contenders
            for trial in contender.trials
        ]
        lines += [
            f"{file.relative_to(self.folder)} {checksum(file)}"
            for contender in self.contenders
            for trial in contender.trials
            for file in sorted((trial.folder / APPLIED).glob("*/*.json"))
        ]
        lines += [f"{kept.file.relative_to(self.folder)} {kept.digest}" for kept in self.sessions]
        return hashlib.sha256("\n".join([self.folder.name, self.name, *lines]).encode()).hexdigest()

    def file(self, name: str) -> Path:
        """Where a generated file of that name goes; `name` bears the fingerprints where the folder holds several."""
        stem, dot, suffix = name.rpartition(".")
        return self.folder / f"{stem}{self.name.removeprefix(self.folder.name)}{dot}{suffix}"

    @property
    def first(self) -> Record:
        """A record, for the protocol and the data, which are the same in all."""
        return self.contenders[0].first

    @property
    def finished(self) -> tuple[Contender, ...]:
        """The models of which at least one trial ended well."""
        return tuple(contender for contender in self.contenders if contender.finished)

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """The bundled quantities, and those that plugins wrote into these records."""
        trials = (trial for contender in self.contenders for trial in contender.trials)
        return with_plugins(quantity for trial in trials for quantity in trial.record.quantities)

    @property
    def seeds(self) -> list[int]:
        """All seeds of which there is a trial."""
        return sorted({trial.record.seed for contender in self.contenders for trial in contender.trials})


def read_trials(results: Path) -> tuple[list[Trial], list[str]]:
    """The trials of a results folder, or of one protocol's folder in it, and a line for each damaged record.

    A record that contradicts the predictions beside it is as good as damaged, and left out like one.

    A results folder that lies in another one (results/reference) is not part of it.
    """
    files = sorted(file for depth in ("*", "*/*") for file in results.glob(f"{depth}/seed*/record.json"))
    read = [_read(file) for file in files]
    return [one for one in read if isinstance(one, Trial)], [one for one in read if isinstance(one, str)]


def _read(file: Path) -> Trial | str:
    """The trial, or what is wrong with it."""
    try:
        trial = read_trial(file.parent)
    except RecordError as error:
        return str(error)
    except OSError as error:
        return f"{file}: cannot be read: {error.strerror}"
    wrong = contradiction(trial.record, trial.folder)
    if wrong is None:
        return trial
    return f"{file}: contradicts its predictions, and is left out: {wrong}; one of the two was changed: run it again"


def applied(comparison: Comparison) -> Comparison | None:
    """Its trained models beside themselves with extensions applied after training; None where there are none.

    Damaged records are left out.
    """
    trials: list[Trial] = []
    sessions: list[Kept] = []
    for contender in comparison.finished:
        for trial in contender.finished:
            read = [_read(file) for file in sorted((trial.folder / APPLIED).glob(f"*/{RECORD}"))]
            if own := [one for one in read if isinstance(one, Trial)]:
                trials += [trial, *own]
                sessions += read_sessions(trial.folder / APPLIED)[0]
    if not trials:
        return None
    timed = _on_one_machine(sessions)
    return Comparison(comparison.folder, comparison.name, _contenders(trials, timed), timed)


def trials_of(protocol_folder: Path) -> dict[Path, Trial]:
    """The trials of one protocol's folder and of none within it, each by its own folder; without damaged ones."""
    trials, _ = read_trials(protocol_folder)
    return {trial.folder: trial for trial in trials if trial.folder.parents[1] == protocol_folder}


def read_trial(folder: Path) -> Trial:
    """The trial in that folder. Raises RecordError for a damaged record, OSError for one that cannot be read."""
    file = folder / RECORD
    content = read_regular(file)
    return Trial(folder, parse_record(content, file), hashlib.sha256(content).hexdigest())


def read_comparisons(results: Path) -> tuple[list[Comparison], list[str]]:
    """The comparisons of a results folder, by name, and a line for each damaged file, which is left out."""
    trials, damaged = read_trials(results)
    sessions = {}
    for folder in sorted({trial.folder.parents[1] for trial in trials}):
        sessions[folder], lines = read_sessions(folder)
        damaged += lines
    return comparisons(trials, sessions), damaged


def comparisons(trials: Iterable[Trial], sessions: Mapping[Path, Sequence[Kept]] | None = None) -> list[Comparison]:
    """Group the trials by folder and by the terms that they share (bench/records/identity.py).

    `sessions` are the timing sessions of each folder; by default they are read, without damaged ones.
    """
    groups: dict[Path, list[tuple[Terms, list[Trial]]]] = {}
    # Those that ended before it was known how they ran come last, and join the first that they may be compared with.
    for trial in sorted(trials, key=lambda trial: (terms_of(trial.record).way is None, trial.folder)):
        terms, own = terms_of(trial.record).compared, groups.setdefault(trial.folder.parents[1], [])
        group = next((members for shared, members in own if shared.agree(terms)), None)
        if group is None:
            own.append((terms, [trial]))
        else:
            group.append(trial)
    found = []
    for folder, own in groups.items():
        taken = read_sessions(folder)[0] if sessions is None else sessions.get(folder, ())
        for terms, group in own:
            timed = _on_one_machine([kept for kept in taken if kept.session.terms.compared.agree(terms)])
            name = _name(folder, terms, alone=len(own) == 1)
            found.append(Comparison(folder, name, _contenders(group, timed), timed))
    return sorted(found, key=lambda one: (one.folder, one.name))


def _on_one_machine(sessions: Sequence[Kept]) -> tuple[Kept, ...]:
    """Those of the machine of the latest: ratios of different machines are not one ratio."""
    return tuple(kept for kept in sessions if same_machine(kept.session.environment, sessions[-1].session.environment))


def _name(folder: Path, terms: Terms, alone: bool) -> str:
    return folder.name if alone else f"{folder.name}-{terms.digest}"


def _contenders(trials: Sequence[Trial], sessions: Sequence[Kept]) -> tuple[Contender, ...]:
    by_model: dict[str, list[Trial]] = {}
    for trial in trials:
        by_model.setdefault(trial.record.model.name, []).append(trial)
    found = []
    for model, own in by_model.items():
        contender = Contender(model, tuple(sorted(own, key=lambda trial: trial.record.seed)))
        # A model of other code has other times.
        code = contender.first.model.code
        timed = (kept for kept in sessions if model in kept.session.by_name)
        its = tuple(kept for kept in timed if kept.session.by_name[model].code == code)
        found.append(replace(contender, sessions=its))

    def order(contender: Contender) -> tuple[float, str]:
        top1 = [trial.record.accuracy.test_top1 for trial in contender.finished if trial.record.accuracy]
        return -sum(top1) / len(top1) if top1 else 1.0, contender.model

    return tuple(sorted(found, key=order))

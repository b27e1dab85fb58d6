"""From a request to records: which trials there are, which are already recorded, and running the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.data.cache import Stored
from bench.errors import RequestError
from bench.events import Checking, Event, Note
from bench.files import check_writable, trial_folder
from bench.plugins import Model, Registry, load_plugins
from bench.protocol import Protocol, load_protocol
from bench.records.comparison import comparisons, read_trial, trials_of
from bench.records.folder import record_files
from bench.records.record import Record, RecordError, read_record
from bench.report.tables.folder_page import write_page, write_tables
from bench.request import Ready, Request, RunOptions, TrialSpec


@dataclass
class Outcome:
    """What a run has come to: every record of its models and seeds, those found already done included."""

    protocol: Protocol
    folder: Path
    records: list[Record] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every trial ended well."""
        return all(record.status == "ok" for record in self.records)


def run(
    models: Sequence[str] = (),
    *,
    all_models: bool = False,
    protocol: str | None = None,
    data: str | None = None,
    seeds: Sequence[int] = (),
    device: str = "auto",
    results: str | Path = "results",
    overrides: Sequence[str] = (),
    weights: Sequence[str] = (),
    plugin_folders: Sequence[str | Path] = (),
    options: RunOptions | None = None,
    fresh: bool = False,
    timeout: float | None = None,
    tell: Callable[[Event], None] = lambda event: None,
) -> Outcome:
    """Train the models under the protocol, once for each seed, leaving out what is already recorded.

    `weights` are texts MODEL=FILE: what the model starts from in place of the weights that bench finds itself.
    `tell` is called with every event, beside the plugins' `bench_event`. Raises RequestError before
    anything trains where the request cannot be carried out; a trial that fails raises nothing.

    Trials run in processes of their own, which import the calling script: it calls this under
    `if __name__ == "__main__":`, as everything that uses multiprocessing.
    """
    from bench.run.executors.local import call, run_trials

    folders = tuple(Path(folder).resolve() for folder in plugin_folders)
    registry = load_plugins(folders)

    def announce(event: Event) -> None:
        tell(event)
        for failure in registry.hear(event):
            tell(Note(failure))

    if not models and not all_models:
        raise RequestError("name a model, or --all; `python -m bench models` lists them")
    chosen_by_default = protocol is None
    if protocol is None:
        *_, protocol = call("bench.run.check:default_protocol", device)
    loaded = load_protocol(protocol, overrides, data)
    announce(Note(_first_line(loaded, chosen_by_default)))
    for problem in registry.problems:
        announce(Note(problem))
    asked = _models(registry, models, all_models, loaded, announce)
    results = Path(results)
    check_writable(results)

    request = Request(tuple(model.name for model in asked), loaded, device, folders, Path.cwd(), tuple(weights))
    ready = _checked(request, announce)
    stored = ready.stored

    outcome = Outcome(loaded, results_folder(results, loaded, stored, _unnamed_change(overrides, data)))
    with _sole_user(outcome.folder):
        specs = []
        for seed in dict.fromkeys(seeds or loaded.seeds):
            for model in asked:
                spec = TrialSpec(
                    model.name,
                    seed,
                    loaded,
                    stored,
                    outcome.folder,
                    device,
                    folders,
                    Path.cwd(),
                    ready.weights.get(model.name),
                    options or RunOptions(),
                )
                done = None if fresh else recorded(spec, model)
                if done is None:
                    specs.append(spec)
                else:
                    outcome.records.append(done)
        if outcome.records:
            count = f"{len(outcome.records)} of {len(outcome.records) + len(specs)} trials"
            announce(Note(f"already recorded in {outcome.folder}: {count}; --fresh runs them again"))
        if fresh:
            _forget(specs)
        trials = trials_of(outcome.folder)  # once: the page of each trial must not read all records again
        try:
            for message in run_trials(specs, timeout):
                if isinstance(message, Record):
                    outcome.records.append(message)
                    trial = read_trial(trial_folder(outcome.folder, message.model.name, message.seed))
                    trials[trial.folder] = trial
                    write_page(comparisons(trials.values()))
                else:
                    announce(message)
        finally:  # an interrupt leaves tables, too
            write_tables(comparisons(trials_of(outcome.folder).values()))
    return outcome


def _checked(request: Request, announce: Callable[[Event], None]) -> Ready:
    """The data and weights of the request, once everything is found right; RequestError where it is not.

    A model that takes the checking process down with it is left to its own trial.
    """
    from bench.run.executors.local import ProcessDiedError, call

    checking = None
    try:
        for message in call("bench.run.check:check", request):
            if isinstance(message, Ready):
                return message
            if isinstance(message, Checking):
                checking = message.model
            else:
                announce(message)
    except ProcessDiedError as error:
        if checking is None:
            raise RequestError(f"the request could not be checked: {error}") from None
        announce(Note(f"{checking} will probably fail: {error}"))
        others = tuple(name for name in request.models if name != checking)
        return _checked(replace(request, models=others), announce)
    raise AssertionError("a call ends with its answer, or raises")


def _unnamed_change(overrides: Sequence[str], data: str | None) -> bool:
    """Whether settings were changed on the command line, and not given a name of their own (`--set name=…`)."""
    keys = [override.partition("=")[0].strip() for override in overrides]
    return "name" not in keys and bool(keys or data)


@contextmanager
def _sole_user(folder: Path) -> Iterator[None]:
    """Hold the results folder, so that two runs do not write the same records."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RequestError(f"{folder}: another run is working there; wait for it, or choose other --results") from None
    try:
        yield
    finally:
        lock.release()


def _forget(specs: Sequence[TrialSpec]) -> None:
    """Remove the checkpoints of trials that are to start anew."""
    for spec in specs:
        for checkpoint in spec.folder.glob("checkpoint-*"):
            checkpoint.unlink()


def _first_line(protocol: Protocol, chosen_by_default: bool) -> str:
    line = f"protocol {protocol.name}: {protocol.description}" if protocol.description else f"protocol {protocol.name}"
    if not chosen_by_default:
        return line
    other = "quick" if protocol.name == "cifar10" else "cifar10"
    return f"{line} (choose another with --protocol, such as --protocol {other})"


def _models(
    registry: Registry, names: Sequence[str], all_models: bool, protocol: Protocol, announce: Callable[[Event], None]
) -> list[Model]:
    """The models asked for, each once, in the order of asking."""
    asked = {model.name: model for model in map(registry.model, names)}
    for name in registry.models if all_models else ():
        why = protocol.why_excluded(name)
        if why is None:
            asked.setdefault(name, registry.model(name))
        elif name not in asked:
            announce(Note(f"left out: {name} ({why}); name it to run it all the same"))
    return list(asked.values())


def results_folder(results: Path, protocol: Protocol, stored: Stored, changed: bool) -> Path:
    """Where this protocol's records on this data go: results/<protocol>.

    Where settings were changed on the command line, or where that folder holds records of another
    protocol or other data under the same name, the name gets a part of the fingerprint. So nothing
    is overwritten, and no folder mixes what must not be compared.
    """
    plain = results / protocol.name
    both = f"{protocol.fingerprint}{stored.fingerprint}"
    apart = results / f"{protocol.name}-{hashlib.sha256(both.encode()).hexdigest()[:8]}"
    if changed:
        return apart
    for record in _readable(plain):
        if (record.protocol.fingerprint, record.data.fingerprint) != (protocol.fingerprint, stored.fingerprint):
            return apart
    return plain


def _readable(folder: Path) -> Iterator[Record]:
    for file in record_files(folder):
        try:
            yield read_record(file)
        except RecordError:
            continue  # damaged: it says nothing, and will be run again


def recorded(spec: TrialSpec, model: Model) -> Record | None:
    """The record of this very trial, if it ended well: same protocol, data, weights, options, plugin source."""
    file = spec.folder / "record.json"
    try:
        record = read_record(file)
    except (OSError, RecordError):
        return None
    same = (
        record.status == "ok"
        and record.seed == spec.seed
        and record.protocol.fingerprint == spec.protocol.fingerprint
        and record.data.fingerprint == spec.stored.fingerprint
        and (record.environment or {}).get("options", RunOptions().record()) == spec.options.record()
        and record.model.code == model.plugin.code
        and (spec.weights is None or (record.model.weights or {}).get("sha256") == spec.weights.sha256)
        and record.model.options == json.loads(json.dumps(model.options_under(dict(spec.protocol.model.options))))
    )
    return record if same else None


def to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as one JSON document."""
    return {
        "protocol": outcome.protocol.name,
        "fingerprint": outcome.protocol.fingerprint,
        "results": str(outcome.folder),
        "records": [record.to_json() for record in outcome.records],
    }

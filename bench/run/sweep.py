"""A run: what is asked for is found ready, what is already recorded is left out, and the other trials are run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from bench.data.in_use import in_use
from bench.errors import RequestError, StorageError, UnreachableError, unknown
from bench.events import Checking, Event, Note, Tell
from bench.files import check_writable, checksum, trial_folder
from bench.hookspecs import DiedError, Executor, TimedOutError
from bench.plugins import Extension, Model, Registry
from bench.protocol import Protocol, load_protocol
from bench.records.comparison import Comparison, Trial, read_trial
from bench.records.folder import record_files
from bench.records.identity import Terms, differences, identity_of, terms_of
from bench.records.record import NAME, Record, RecordError, read_record
from bench.request import COMPILE_MODES, CheckRequest, Devices, Ready, RunRequest, TrialSpec
from bench.run import plan
from bench.run.executors import Limits, follow, run_trials, work
from bench.run.executors.starting import room_of, started
from bench.run.leftovers import clear_done
from bench.run.seeds import Enough, MoreSeeds
from bench.run.slots import Slots, slots, way

T = TypeVar("T")

# The protocol whose pictures come with a package, and whose models start from scratch.
WITHOUT_NETWORK = "quick"


@dataclass
class Sweep:
    """A run of which everything is known but the results: its folder, what is recorded there, what is missing.

    `ended` are the trials that are over, those found recorded first: of each that ended well the folder that its record
    lies in, since a thousand records take 50 MB; of each other one its record, which may lie nowhere.
    """

    protocol: Protocol
    folder: Path
    ended: list[Path | Record]
    missing: list[TrialSpec]
    executor: Executor
    devices: Devices
    where: Slots
    request: RunRequest
    meanwhile: Callable[[TrialSpec], Record | None]
    further: Callable[[Record], Iterable[TrialSpec | Record | Note]]
    problems: list[str] = field(default_factory=list)  # what could not be written

    @property
    def ok(self) -> bool:
        """Whether every trial ended well, and everything was written."""
        return not self.problems and all(isinstance(one, Path) for one in self.ended)

    @property
    def trials(self) -> list[Trial]:
        """The trials that are over, read anew; RequestError where a record is no longer there."""
        return [self._read(one) for one in self.ended]

    @property
    def records(self) -> list[Record]:
        """Those of `trials`."""
        return [trial.record for trial in self.trials]

    @contextmanager
    def costing_no_trial(self, tell: Tell) -> Iterator[None]:
        """Within it, tables are made: what cannot be is told, once, and stops nothing."""
        try:
            yield
            return
        except StorageError as error:
            problem = str(error)
        except Exception as error:  # of a record that is odd in a way that nobody thought of
            problem = f"the tables of {self.folder} cannot be made: {type(error).__name__}: {error}"
        if problem not in self.problems:
            self.problems.append(problem)
            tell(Note(problem))

    def run(self, tell: Tell) -> Generator[Record, None, None]:
        """Run what is missing; gives each trial's record once it is written. A trial that fails raises nothing.

        Closing it stops the trials under way, and tells of their ends.
        """
        limits = Limits(self.request.timeout, self.request.retries)
        with closing(
            run_trials(self.executor, self.missing, self.where, limits, self.meanwhile, self.further, tell)
        ) as messages:
            for message in messages:
                if isinstance(message, Record):
                    self.ended.append(self._kept(message))
                    yield message
                else:
                    tell(message)

    def folder_of(self, record: Record) -> Path:
        """Where the record of a trial of this run lies."""
        return trial_folder(self.folder, record.model.name, record.seed)

    def _kept(self, record: Record) -> Path | Record:
        return self.folder_of(record) if record.status == "ok" else record

    def _read(self, ended: Path | Record) -> Trial:
        if isinstance(ended, Record):
            return Trial(self.folder_of(ended), ended)
        try:
            return read_trial(ended)
        except (OSError, RecordError) as error:
            raise RequestError(f"{ended / NAME} was changed or removed since it was written: {error}") from None

    def holds(self, comparison: Comparison) -> bool:
        """Whether it is the comparison that this run's trials belong to."""
        return comparison.first.protocol.fingerprint == self.protocol.fingerprint

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "protocol": self.protocol.name,
            "fingerprint": self.protocol.fingerprint,
            "results": str(self.folder),
            "records": [record.to_json() for record in self.records],
        }


@contextmanager
def opened(request: RunRequest, registry: Registry, tell: Tell, enough: Enough | None = None) -> Iterator[Sweep]:
    """The run that the request means. Another one may work in its folder, too: they share the trials.

    `enough` says how many seeds are, where that is not said beforehand.

    Raises RequestError, before anything trains, where the request cannot be carried out.
    """
    extensions = [registry.extension(text) for text in request.extensions]
    if not request.models and not request.all_models:
        raise RequestError("name a model, or --all; `python -m bench models` lists them")
    if request.options.compile_mode not in COMPILE_MODES:
        mode = request.options.compile_mode
        raise unknown("mode of torch.compile", mode, COMPILE_MODES, "python -m bench run --help")
    if request.options.compile_mode != COMPILE_MODES[0] and not request.options.compile:
        raise RequestError("compile_mode says how to compile; say compile, too")
    on_request = [name for name, (spec, _) in registry.measurements.items() if spec.on_request]
    for name in request.options.measure:
        if name not in registry.measurements:
            raise unknown("quantity", name, on_request, "python -m bench measure --help")
        if name not in on_request:
            raise RequestError(
                f"--measure {name}: every trial measures it; only {', '.join(on_request)} must be asked for"
            )
    with started(registry.executor(request.options.executor), request) as executor:
        planned = _planned(request, registry, executor, extensions, tell, enough)
        # Between its trials, too.
        with in_use(planned.missing[0].stored.folder) if planned.missing else nullcontext():
            yield planned


def _planned(
    request: RunRequest,
    registry: Registry,
    executor: Executor,
    extensions: Sequence[Extension],
    tell: Tell,
    enough: Enough | None,
) -> Sweep:
    """The run on that executor, once everything is found ready."""
    name = request.protocol or follow(executor.run(partial(work.default_protocol, request.place.device)), tell)
    for problem in registry.problems:
        tell(Note(problem))
    try:
        protocol, models, devices, ready = _found_ready(request, name, extensions, registry, executor, tell)
    except UnreachableError as error:
        if request.protocol is not None or name == WITHOUT_NETWORK:
            raise
        tell(Note(f"{error} – {WITHOUT_NETWORK} needs no network, and runs in the place of {name}"))
        protocol, models, devices, ready = _found_ready(request, WITHOUT_NETWORK, extensions, registry, executor, tell)
    where = slots(devices, request.jobs, room_of(executor))
    terms = Terms(protocol.fingerprint, ready.stored.fingerprint, way(devices, request.options, where))
    changed = plan.is_unnamed_change(request)
    folder = results_folder(request.place.results, protocol.name, terms, changed)
    if folder.name != protocol.name and not changed:
        tell(Note(f"{request.place.results / protocol.name} holds trials under other terms: these go to {folder}"))
    specs = plan.trials(request, models, protocol, ready, devices, where, folder, registry, enough)
    by_name = {model.name: model for model in models}
    before: dict[Path, str | None] = {}

    def meanwhile(spec: TrialSpec) -> Record | None:
        """The record that another run has written since."""
        changed = checksum(spec.folder / NAME) != before[spec.folder]
        return recorded(spec, by_name[spec.model])[0] if changed else None

    def known(spec: TrialSpec) -> Record | None:
        """The record from before the run, unless all is to run again."""
        before[spec.folder] = checksum(spec.folder / NAME)
        done, why = (None, "") if request.fresh else recorded(spec, by_name[spec.model])
        if why:
            tell(Note(f"{spec.model}, seed {spec.seed}, is run again: {why}"))
        if done is not None:
            clear_done(spec, by_name[spec.model])
        return done

    records, missing = [], []
    for spec in specs:
        if (done := known(spec)) is None:
            missing.append(spec)
        else:
            records.append(done)
    if records:
        tell(Note(f"already recorded in {folder}: {len(records)} of {len(specs)} trials; --fresh runs them again"))
        for line in unmeasured(records, request.options.measure, folder):
            tell(Note(line))
    more = None if enough is None else MoreSeeds(enough, specs, records, known)
    for message in more.begin() if more is not None else ():
        if isinstance(message, Note):
            tell(message)
        elif isinstance(message, Record):
            records.append(message)
        else:
            missing.append(message)
    further = (lambda record: ()) if more is None else more.after
    ended: list[Path | Record] = [trial_folder(folder, one.model.name, one.seed) for one in records]  # all well
    return Sweep(protocol, folder, ended, missing, executor, devices, where, request, meanwhile, further)


def _found_ready(
    request: RunRequest,
    name: str,
    extensions: Sequence[Extension],
    registry: Registry,
    executor: Executor,
    tell: Tell,
) -> tuple[Protocol, list[Model], Devices, Ready]:
    """The protocol of that name as the request changes it, the models that are run under it, on what, with what.

    Raises RequestError where anything is not right; UnreachableError where something would have to be downloaded.
    """
    protocol = load_protocol(name, request.overrides, request.data)
    tell(Note(plan.first_line(protocol, chosen_by_default=request.protocol is None)))
    models, left_out = plan.models_asked(request, registry, protocol)
    for line in left_out:
        tell(Note(line))
    if extensions:
        candidates = plan.extended(models, extensions, registry)
        asked = CheckRequest((), protocol, request.place)
        unfit = _of_each(work.find_unfit, candidates, asked, registry, executor, request.timeout, tell)
        models, lines = plan.with_extended(models, candidates, unfit)
        for line in lines:
            tell(Note(line))
    check_writable(request.place.results)
    try:
        found = executor.run(partial(work.find_devices, request.place.device, protocol.train.precision))
        devices = follow(found, tell)
    except DiedError as error:
        raise RequestError(f"what trials would run on could not be found: {error}") from None
    return protocol, models, devices, _ready(request, models, protocol, registry, executor, tell)


def _ready(
    request: RunRequest, models: Sequence[Model], protocol: Protocol, registry: Registry, executor: Executor, tell: Tell
) -> Ready:
    """The data and weights of the run, once everything is found right; RequestError where it is not."""
    names = tuple(model.name for model in models)
    asked = CheckRequest(names, protocol, request.place, plan.named_weights(request.weights, names))
    checked = _of_each(work.check_models, models, asked, registry, executor, request.timeout, tell)
    for line in plan.unequal_options(protocol, checked):
        tell(Note(line))
    weights = {name: one.weights for name, one in checked.items() if one.weights is not None}
    registry.dataset(protocol.data.dataset)
    _, dataset = registry.datasets[protocol.data.dataset.partition(":")[0]]
    data = partial(work.prepare_data, replace(asked, plugins=registry.needed(dataset)))
    try:
        return replace(follow(executor.run(data), tell), weights=weights)
    except DiedError as error:
        raise RequestError(f"dataset {protocol.data.dataset} could not be made ready: {error}") from None


def _of_each(
    ask: Callable[[CheckRequest, Tell], dict[str, T]],
    models: Sequence[Model],
    request: CheckRequest,
    registry: Registry,
    executor: Executor,
    timeout: float | None,
    tell: Tell,
) -> dict[str, T]:
    """What `ask` answers of the models, those of each plugin by themselves: what its code does reaches no other's."""

    def needed(model: Model) -> tuple[str, ...]:
        return registry.needed(*model.plugins)

    answers: dict[str, T] = {}
    for places, own in groupby(sorted(models, key=needed), key=needed):
        group = tuple(model.name for model in own)
        answers |= _asked(ask, replace(request, models=group, plugins=places), executor, timeout, tell)
    return answers


def _asked(
    ask: Callable[[CheckRequest, Tell], dict[str, T]],
    request: CheckRequest,
    executor: Executor,
    timeout: float | None,
    tell: Tell,
) -> dict[str, T]:
    """The answers of these models. One that takes the asked process down with it is left to its own trial."""
    checking: str | None = None
    limit = None if timeout is None else timeout * len(request.models)

    def hear(event: Event) -> None:
        nonlocal checking
        checking = event.model if isinstance(event, Checking) else checking
        tell(event)

    try:
        return follow(executor.run(partial(ask, request), timeout=limit), hear)
    except TimedOutError:
        why = f"checking whether it can be built took longer than {timeout:g} seconds"
    except DiedError as error:
        why = str(error)
    if checking is None:
        raise RequestError(f"the request could not be checked: {why}")
    tell(Note(f"{checking} will probably fail: {why}"))
    others = tuple(name for name in request.models if name != checking)
    return _asked(ask, replace(request, models=others), executor, timeout, tell) if others else {}


def results_folder(results: Path, name: str, terms: Terms, changed: bool) -> Path:
    """Where the records of the protocol of that name go: results/NAME.

    Where settings were changed on the command line, or where that folder holds records under other terms (protocol,
    data, way of running), the name gets a part of their digest. So nothing is overwritten, and no folder mixes
    what must not be compared.
    """
    plain, apart = results / name, results / f"{name}-{terms.digest}"
    if changed or any(not terms_of(record).agree(terms) for record in _readable(plain)):
        return apart
    return plain


def _readable(folder: Path) -> Iterator[Record]:
    for file in record_files(folder):
        try:
            yield read_record(file)
        except RecordError:
            continue  # damaged: it says nothing, and will be run again


def failed(value: Any) -> bool:
    """Whether that is what a record has of a measurement that failed."""
    return isinstance(value, dict) and value.keys() == {"error"}


def unmeasured(records: Sequence[Record], names: Sequence[str], folder: Path) -> Iterator[str]:
    """A line for each of these measurements that some recorded trials are without: the command that takes it of them.

    They are not run again for it: what is measured of a trial does not decide which trial it is.
    """
    for name in names:
        without = [one for one in records if failed(one.plugins.get(name, {"error": ""}))]
        if without:
            folders = " ".join(str(trial_folder(folder, one.model.name, one.seed)) for one in without)
            yield f"{len(without)} of them without {name}: python -m bench measure {folders} --only {name}"


def recorded(spec: TrialSpec, model: Model) -> tuple[Record | None, str]:
    """The record of this very trial, if it ended well; else in what the one that is there is of another, in words."""
    try:
        record = read_record(spec.folder / NAME)
    except (OSError, RecordError):
        return None, ""
    if record.status != "ok":
        return None, ""
    if record.efficiency is None:
        return None, "it was cut short while it was measured"
    found, asked = identity_of(record), spec.identity(model)
    if found is None:
        return None, "its record does not say how it ran"
    differing = differences(found, asked)
    return (None, ", ".join(differing)) if differing else (record, "")

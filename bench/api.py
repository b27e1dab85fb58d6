"""What the commands do, for Python: the one place that joins runs, reports and plugins.

`bench.run`, `bench.measure` and `bench.report` (bench/calls.py) are these functions with their progress shown. Each
raises RequestError, with one line that says what to do, for what cannot be carried out; `tell` is called with every
event, beside the plugins' `bench_event`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import RequestError, unknown
from bench.events import Event, Measuring, Note, Tell, tell_nobody
from bench.guard import LIMIT
from bench.hookspecs import DiedError
from bench.plugins import Registry, load_plugins
from bench.plugins.finding import is_file
from bench.protocol import load_protocol
from bench.records.comparison import APPLIED, Comparison, Trial, applied, comparisons, read_trial, trials_of
from bench.records.measurement import FOLDER, Measurement
from bench.records.model_names import known_as
from bench.report.judge.choose import comparisons_in
from bench.report.judge.seeds import FEWEST, read_until
from bench.report.make import report as reporting
from bench.report.tables.folder_page import rewrite_page, write_page, write_tables
from bench.report.tables.measurements import write_measure_page
from bench.request import (
    AfterwardsRequest,
    AppliedRequest,
    CheckRequest,
    MeasureRequest,
    Part,
    PartRequest,
    Place,
    RunRequest,
    request_from,
)
from bench.run import contract, measuring, sweep
from bench.run.contract import Finding
from bench.run.executors import follow, work
from bench.run.executors.local import Local
from bench.run.outlook import Outlook, outlook
from bench.run.outlook import announce as announce_outlook
from bench.run.seeds import Enough
from bench.run.sweep import Sweep
from bench.run.timing import await_turn, lacks_timing, take, time_folders

T = TypeVar("T")


def run(asked: RunRequest | str | Sequence[str] = (), *, tell: Tell = tell_nobody, **parameters: Any) -> Sweep:
    """Train models under one protocol, once for each seed, leaving out what is already recorded; and write the tables.

    `asked` is a RunRequest, or the models' names, with what else differs from a RunRequest's defaults as keywords:
    `run("vit_tiny", protocol="quick", device="cpu", frozen_prefix=False)`. A trial that fails raises nothing.
    """
    request = request_from(RunRequest, asked, parameters)
    registry = _plugins(request.place, request.timeout or LIMIT)
    announce = _heard(registry, tell)
    with sweep.opened(request, registry, announce, _enough(request)) as found:
        announce_outlook(found, outlook(found, trials_of(found.folder).values(), _series(registry), announce), announce)
        # In a process of its own: it reads all records, which this one need not hold.
        page = Sparing(lambda: follow(Local().run(partial(rewrite_page, found.folder)), announce))
        total = len(found.ended) + len(found.missing)
        try:
            with closing(found.run(announce)) as records:
                for _ in records:
                    if len(found.ended) != total or request.options.timing:  # else the tables follow at once
                        with found.costing_no_trial(announce):
                            page()
            if request.options.timing:
                await_turn(found.folder, announce)
                # Of all that is there now: another run may have worked on it, too.
                own = (one for one in comparisons(trials_of(found.folder).values()) if found.holds(one))
                for one in filter(lacks_timing, own):
                    take(one, (), request.place, found.executor, announce)
        finally:  # an interrupt leaves tables, too
            with found.costing_no_trial(announce):
                if left := comparisons(trials_of(found.folder).values()):
                    write_tables(left)
    return found


class Sparing:
    """Calls what it is made of, but for no more than a share of the time: with a thousand trials a page takes long."""

    SHARE = 0.02

    def __init__(self, call: Callable[[], None]) -> None:
        self._call, self._due = call, -math.inf

    def __call__(self) -> None:
        """Call it, if it is due."""
        began = time.monotonic()
        if began < self._due:
            return
        self._call()
        ended = time.monotonic()
        self._due = ended + (ended - began) / self.SHARE


def plan(
    asked: RunRequest | str | Sequence[str] = (),
    *,
    gpus: int | None = None,
    tell: Tell = tell_nobody,
    **parameters: Any,
) -> Outlook:
    """What `run` would do, given the same: what is recorded, and how long what is left takes and what it needs.

    Where no earlier trial of this machine says it, a few steps of each model are measured. `gpus` counts on so many
    devices in place of those that there are. Writes nothing.
    """
    request = request_from(RunRequest, asked, parameters)
    registry = _plugins(request.place, request.timeout or LIMIT)
    announce = _heard(registry, tell)
    with sweep.opened(request, registry, announce, _enough(request)) as found:
        trials = trials_of(found.folder).values()
        return outlook(found, trials, _series(registry), announce, gpus=gpus, ask=True)


def _series(registry: Registry) -> int:
    """How many times of each model a timing session takes."""
    return sum(spec.timed is not None for spec, _ in registry.measurements.values())


def _enough(request: RunRequest) -> Enough | None:
    """When the seeds of a run are enough; None where the request says which they are."""
    if request.until is None:
        if request.max_seeds != RunRequest.max_seeds:
            raise RequestError(f"--max-seeds {request.max_seeds}: is of --until, such as --until accuracy=0.5")
        return None
    until = read_until(request.until)
    if request.max_seeds < FEWEST:
        raise RequestError(
            f"--max-seeds {request.max_seeds}: {FEWEST} seeds are the fewest that say how sure a mean is"
        )
    return Enough(FEWEST, request.max_seeds, until.reached, {until.quantity.key: until.half})


def measure(
    asked: MeasureRequest | str | Sequence[str] = (), *, tell: Tell = tell_nobody, **parameters: Any
) -> list[Measurement]:
    """Measure models as they are, without training them; write their measurements, and a page with their table.

    `asked` is a MeasureRequest, or the models' names, with what else differs from its defaults as keywords.
    """
    request = request_from(MeasureRequest, asked, parameters)
    registry = _plugins(request.place)
    found = measuring.measure(request, registry, Local(), _heard(registry, tell))
    write_measure_page(request.place.results / FOLDER)
    return found


def time_together(
    results: str | Path = "results",
    models: Sequence[str] = (),
    *,
    place: Place | None = None,
    tell: Tell = tell_nobody,
) -> tuple[list[Comparison], list[str]]:
    """Time the finished models of each comparison of a results folder side by side; another session each time.

    `models` names some of them; by default all are timed. Gives the comparisons, with all of their sessions, and a
    line for each that could not be timed. Raises RequestError where the folder has none, or not that model.
    """
    results, place = Path(results), place or Place()
    asked, problems = comparisons_in(results)
    known = {contender.model for one in asked for contender in one.finished}
    models = [known_as(model, known) for model in models]
    for model in models:
        if model not in known:
            raise unknown("model", model, known, f"--of {results}")
    announce = _heard(_plugins(place), tell)
    for one in asked:
        names = {contender.model for contender in one.finished}
        if names & set(models) if models else names:
            problems += filter(None, [take(one, models, place, Local(), announce)])
    timed = comparisons(trial for one in asked for contender in one.contenders for trial in contender.trials)
    for folder in {one.folder for one in timed}:
        write_page([one for one in timed if one.folder == folder])
    return timed, problems


def apply_extensions(
    trials: Sequence[str | Path],
    extensions: Sequence[str],
    *,
    data: str | None = None,
    timing: bool = True,
    place: Place | None = None,
    tell: Tell = tell_nobody,
) -> list[Comparison]:
    """Apply extensions to trained models, without training, test them on the same pictures, and measure them.

    `trials` are folders of finished trials with their weights; `data` says where their pictures are, if not where the
    protocol says. Gives for each trial its model beside itself extended, and writes that into the trial's folder.
    Raises RequestError for what cannot be carried out.
    """
    place = place or Place()
    announce, folders = _heard(_plugins(place), tell), tuple(map(Path, trials))
    request = AppliedRequest(folders, tuple(extensions), place, data)
    executor = Local()
    try:
        made = follow(executor.run(partial(work.apply_extensions, request)), announce)
    except DiedError as error:
        raise RequestError(f"measuring stopped: {error}") from None
    for folder in folders if timing else ():
        own = [folder, *(one for one in made if one.parents[1] == folder.absolute())]
        time_folders(folder / APPLIED, own, folder.name, place, executor, announce)
    found = (applied(one) for folder in folders for one in comparisons([read_trial(folder)]))
    return [one for one in found if one is not None]


def measure_trials(
    trials: Sequence[str | Path],
    only: Sequence[str],
    *,
    data: str | None = None,
    place: Place | None = None,
    tell: Tell = tell_nobody,
) -> tuple[list[Trial], list[str]]:
    """Take measurements of trained models, without training, and write them into their records and tables.

    `trials` are folders of finished trials with their weights; `only` names measurements of plugins, or those that are
    taken on request, such as robustness; `data` says where the pictures are, if not where the protocol says. Gives the
    trials as they are now, and a line for each measurement that failed. Raises RequestError for what cannot be done.
    """
    place = place or Place()
    announce, folders = _heard(_plugins(place), tell), tuple(Path(trial).absolute() for trial in trials)
    request = AfterwardsRequest(folders, tuple(dict.fromkeys(only)), place, data)
    try:
        problems = follow(Local().run(partial(work.measure_finished, request)), announce)
    except DiedError as error:
        raise RequestError(f"measuring stopped: {error}") from None
    for folder in {one.parents[1] for one in folders}:
        if own := comparisons(trials_of(folder).values()):
            write_tables(own)
    return [read_trial(folder) for folder in folders], problems


def report(
    results: str | Path = "results",
    *,
    plugins: Sequence[Path] = (),
    texts: Sequence[Path] | None = None,
    tell: Tell = tell_nobody,
) -> reporting.Outcome:
    """Make what is not yet as the records give it: tables, figures, pages, and marked sections of Markdown texts.

    The claims of the plugins, those in the folders `plugins` too, are judged beside the project's own. `texts` are
    Markdown files, or folders of such; by default the results folder and the working directory.
    """
    return _handed(reporting.make_report, Path(results), plugins, texts, tell)


def check_report(
    results: str | Path = "results",
    *,
    plugins: Sequence[Path] = (),
    texts: Sequence[Path] | None = None,
    tell: Tell = tell_nobody,
) -> reporting.Checked:
    """What is not as `report` would make it. Writes nothing."""
    return _handed(reporting.check, Path(results), plugins, texts, tell)


def _handed(
    make: Callable[..., T], results: Path, plugins: Sequence[Path], texts: Sequence[Path] | None, tell: Tell
) -> T:
    """What `make` makes of the results, handed what it does not look for itself."""
    registry = load_plugins(plugins, try_first=True)
    claims, problems = registry.claims()
    marked = (results, Path.cwd()) if texts is None else texts
    return make(results, claims=claims, problems=problems, texts=marked, tell=_heard(registry, tell))


def doctor(device: str = "auto") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """This machine as records describe it, and what is missing for which command."""
    return follow(Local().run(partial(work.examine, device)), tell_nobody)


def check_plugin(
    name: str, *, plugins: Sequence[str | Path] = (), tell: Tell = tell_nobody
) -> dict[Part, list[Finding]]:
    """What is found of each part of a plugin, held against the contract on real inputs (bench/hookspecs.py).

    `name` is a plugin's, its file, an entry point's, a package's, or that of one model, extension, dataset or
    measurement. Each part is looked at in a process of its own. Raises RequestError where there is none of that name,
    or it cannot be loaded.
    """
    file = Path(name).absolute() if is_file(name) else None
    place = Place(plugins=(*map(Path, plugins), *([file.parent] if file is not None else [])))
    registry = _plugins(place)
    wanted = str(file) if file is not None else name
    for plugin, problem in registry.left_out:
        if plugin.is_called(wanted):  # what else its package adds may be sound
            raise RequestError(problem)
    parts = contract.parts_of(wanted, registry)
    if not parts:
        for problem in registry.problems:
            if wanted in problem or f"{name}.py" in problem:
                raise RequestError(problem)
        if whole := contract.untried(wanted, registry):
            return whole
        known = {*registry.plugins, *registry.models, *registry.extensions, *registry.datasets, *registry.measurements}
        raise unknown("plugin", name, known, "python -m bench plugins")
    found = {}
    for number, part in enumerate(parts):
        tell(Measuring(part.name, f"{part.kind} checked", number, len(parts)))
        try:
            found[part] = follow(Local().run(partial(work.check_part, PartRequest(part, place))), tell)
        except DiedError as error:
            found[part] = [contract.Finding("lives through its checks", False, str(error))]
    return found


def trainable_layers(
    model: str,
    protocol: str = "cifar10",
    *,
    overrides: Sequence[str] = (),
    classes: int = 10,
    place: Place | None = None,
) -> tuple[str, str, list[dict[str, Any]]]:
    """The model's name in full, what the protocol trains, and name, kind, parameters, state of each layer."""
    place = place or Place()
    name = _plugins(place).model(model).name
    loaded = load_protocol(protocol, overrides)
    asked = CheckRequest((name,), loaded, place)
    return name, loaded.train.what, follow(Local().run(partial(work.trainable_layers, asked, classes)), tell_nobody)


def _plugins(place: Place, limit: float = LIMIT) -> Registry:
    return load_plugins(place.plugins, place.working_directory, try_first=True, limit=min(limit, LIMIT))


def _heard(registry: Registry, tell: Tell) -> Tell:
    """Tells of an event, and the plugins' listeners, too; and of what went wrong with those."""

    def announce(event: Event) -> None:
        tell(event)
        for failure in registry.hear(event):
            tell(Note(failure))

    return announce

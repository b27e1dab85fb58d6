"""Measurements taken of trials that are over: of their kept weights, on their own test pictures, into their records.

Only what lies in the record by itself is: what a plugin adds, or what is taken on request. What every trial measures of
itself stays as it was found then.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.errors import RequestError, unknown
from bench.events import Measuring, Note, Tell
from bench.hookspecs import MeasureSpec, Subject
from bench.measure import Found, is_of_efficiency, measure
from bench.models.freezing import freeze
from bench.plugins import Plugin, Registry, load_plugins
from bench.records.record import NAME, read_record
from bench.request import AfterwardsRequest
from bench.run.keep import rewrite
from bench.run.lock import sole_user
from bench.run.reopened import Reopened
from bench.run.trial import trained_subject


def measure_finished(request: AfterwardsRequest, emit: Tell) -> list[str]:
    """Take the measurements of each trial, and write them into its record; a line for each that failed.

    Of one that fails the record keeps what it had. Raises RequestError, before anything is measured, for a folder that
    holds no finished trial or no weights, for other pictures than the trial's, and for what is no such measurement.
    """
    registry = load_plugins(request.place.plugins, request.place.working_directory)
    specs = [_spec(name, registry) for name in request.only]
    opened = [Reopened(folder, request.place, request.data, registry, emit) for folder in request.trials]
    problems: list[str] = []
    for number, one in enumerate(opened):

        def begins(subject: Subject, name: str, before: int = number * len(specs)) -> None:
            done = before + request.only.index(name)
            emit(Measuring(subject.name, name, done, len(opened) * len(specs)))

        with sole_user(one.folder):
            found = _found(one, specs, registry, begins, emit)
            record = read_record(one.folder / NAME)  # it may have changed since
            if record.predictions_sha256 != one.record.predictions_sha256:
                raise RequestError(f"{one.folder}: was run again meanwhile; measure once more")
            record.plugins |= {name: value for name, value in found.plugins.items() if name not in found.failures}
            taken = {quantity.key for quantity in found.quantities}
            record.quantities = [old for old in record.quantities if old.key not in taken] + found.quantities
            rewrite(one.folder, record)
        lines = [f"{one.folder}: {name} could not be measured: {why}" for name, why in found.failures.items()]
        for line in lines:
            emit(Note(line))
        problems += lines
    return problems


def _spec(name: str, registry: Registry) -> tuple[MeasureSpec, Plugin]:
    if name not in registry.measurements:
        raise unknown("quantity", name, registry.measurements, "python -m bench measure --help")
    spec, plugin = registry.measurements[name]
    if is_of_efficiency(spec, plugin):
        raise RequestError(f"--only {name}: every trial measures it of itself; name a model to measure it anew")
    return spec, plugin


def _found(
    one: Reopened,
    specs: list[tuple[MeasureSpec, Plugin]],
    registry: Registry,
    begins: Callable[[Subject, str], None],
    emit: Tell,
) -> Found:
    """What is found of the trained model."""
    asked = registry.model(one.record.model.name)
    freeze(one.trained, one.protocol.train.what, asked.last_block, asked.name)
    spec = one.spec(asked, one.folder)
    prepared = one.prepared(one.trained, spec)
    test = one.tested(prepared, emit)
    found = Found()
    measure([(trained_subject(spec, prepared, test), found)], specs, begins)
    return found

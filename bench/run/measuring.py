"""What is measured without training, and its record: results/measure/<model>/<size>px-<options>/measurement.json."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import get_args

from bench.errors import RequestError, unknown
from bench.events import Note, Tell
from bench.files import check_writable
from bench.hookspecs import DiedError, Executor
from bench.plugins import Registry
from bench.protocol import Precision
from bench.records.measurement import Measurement
from bench.request import MeasureRequest
from bench.run.executors import follow, work

PRECISIONS = get_args(Precision)


def measure(request: MeasureRequest, registry: Registry, executor: Executor, tell: Tell) -> list[Measurement]:
    """Measure models as they are, in a process of their own, and write their measurements.

    Raises RequestError before anything is measured where the request cannot be carried out.
    """
    for problem in registry.problems:
        tell(Note(problem))
    settled = _settled(request, registry)
    check_writable(request.place.results)
    try:
        return follow(executor.run(partial(work.measure, settled)), tell)
    except DiedError as error:
        raise RequestError(f"measuring stopped: {error}; measure fewer models at once") from None


def _settled(request: MeasureRequest, registry: Registry) -> MeasureRequest:
    """The request with every model named, each once, and every quantity, in the order of measuring."""
    if not request.models and not request.all_models:
        raise RequestError("name a model, or --all; `python -m bench models` lists them")
    asked = (*request.models, *(registry.models if request.all_models else ()))
    names = tuple(dict.fromkeys(registry.model(name).name for name in asked))
    for quantity in request.only:
        if quantity not in registry.measurements:
            raise unknown("quantity", quantity, registry.measurements, "python -m bench measure --help")
    if request.precision not in PRECISIONS:
        raise unknown("precision", request.precision, PRECISIONS, "python -m bench measure --help")
    wanted = (name for name, (spec, _) in registry.measurements.items() if spec.is_wanted(request.only))
    only = tuple(name for name in wanted if not request.only or name in request.only)
    return replace(request, models=names, batches=tuple(sorted(set(request.batches))), only=only)

"""A measurement, held against the contract: taken of small models, as `measure` takes it."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

from bench.events import tell_nobody
from bench.plugins import Registry
from bench.plugins.finding import is_file
from bench.records.measurement import Measurement
from bench.request import MeasureRequest, Place
from bench.run import untrained
from bench.run.contract import Finding, Findings, NotTriedError, WrongError

MODELS = ("vit_tiny", "densenet121")


def check(name: str, registry: Registry) -> list[Finding]:
    """Everything that is found of the measurement."""
    spec, plugin = registry.measurements[name]
    found = Findings(plugin)
    measured: list[Measurement] = []
    with found.of(f"measures {' and '.join(MODELS)}, before they are trained"):
        measured = _measured(name, registry)
        for one in measured:
            if one.error is not None:
                raise WrongError(f"of {one.model['name']}: {one.error.message}")
            said = one.plugins.get(name)
            if isinstance(said, dict) and "error" in said:
                raise WrongError(f"of {one.model['name']}: {said['error']}")
    if not found.found[-1].ok:
        return found.found
    with found.of("gives plain JSON values, none of them NaN"):
        for one in measured:
            json.dumps(one.plugins.get(name), allow_nan=False)
    with found.of("gives the number of each of its quantities"):
        if not spec.quantities:
            raise NotTriedError("it has none: it is recorded, and in no table")
        for quantity in spec.quantities:
            for one in measured:
                if name in one.plugins and one.plugins[name] is None:
                    raise NotTriedError(f"it gives null of {one.model['name']}, which is not trained")
                value = quantity.value(one.plugins.get(name)) if name in one.plugins else None
                if quantity.series:
                    continue  # of timing sessions
                if value is None or not math.isfinite(value):
                    raise WrongError(f"{quantity.key}: at {quantity.path!r} there is no number of {one.model['name']}")
    return found.found


def _measured(name: str, registry: Registry) -> list[Measurement]:
    """Through the very code of `measure`."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), "cpu", tuple(_folders(registry)))
        request = MeasureRequest(MODELS, image_size=32, classes=10, train_batch=4, only=(name,), rounds=6, place=place)
        return untrained.measure(request, tell_nobody)


def _folders(registry: Registry) -> list[Path]:
    """Those of the plugins that are files, the bundled ones aside."""
    places = (plugin.place for plugin in registry.plugins.values() if not plugin.bundled)
    return list(dict.fromkeys(Path(place).parent for place in places if is_file(place)))

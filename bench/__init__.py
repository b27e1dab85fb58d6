"""bench: which image model gives how much accuracy for how much compute, memory and time.

The public names. Those in _LAZY are loaded when first used, so that a plugin's `from bench import ModelSpec, hookimpl`
stays instant. What the commands do is in bench.api: `run_models`, `measure_models` and `make_report` are its functions,
under names that no package of bench has.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError, UnreachableError
from bench.hookspecs import (
    Claim,
    DatasetSpec,
    ExecutorSpec,
    ExtensionSpec,
    MeasureSpec,
    ModelSpec,
    Pictures,
    Split,
    hookimpl,
)
from bench.records.quantities import Quantity

if TYPE_CHECKING:
    from bench.api import measure as measure_models
    from bench.api import report as make_report
    from bench.api import run as run_models
    from bench.models.kept import load_model
    from bench.protocol import Protocol
    from bench.records.evidence import Verdict
    from bench.records.folder import load_records
    from bench.records.frame import load_frame
    from bench.records.record import Record
    from bench.request import MeasureRequest, Place, RunOptions, RunRequest

__version__ = "0.1.0"
__all__ = [
    "Claim",
    "DatasetSpec",
    "ExecutorSpec",
    "ExtensionSpec",
    "MeasureRequest",
    "MeasureSpec",
    "ModelSpec",
    "Pictures",
    "Place",
    "Protocol",
    "Quantity",
    "Record",
    "RequestError",
    "RunOptions",
    "RunRequest",
    "Split",
    "UnreachableError",
    "Verdict",
    "hookimpl",
    "load_frame",
    "load_model",
    "load_records",
    "make_report",
    "measure_models",
    "run_models",
]

_LAZY = {
    "MeasureRequest": "bench.request:MeasureRequest",
    "Place": "bench.request:Place",
    "Protocol": "bench.protocol:Protocol",
    "Record": "bench.records.record:Record",
    "RunOptions": "bench.request:RunOptions",
    "RunRequest": "bench.request:RunRequest",
    "Verdict": "bench.records.evidence:Verdict",
    "load_frame": "bench.records.frame:load_frame",
    "load_model": "bench.models.kept:load_model",
    "load_records": "bench.records.folder:load_records",
    "make_report": "bench.api:report",
    "measure_models": "bench.api:measure",
    "run_models": "bench.api:run",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    return getattr(import_module(module), attribute)

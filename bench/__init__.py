"""bench: which image model gives how much accuracy for how much compute, memory and time.

The public names. Those in _LAZY are loaded when first used, so that a plugin's `from bench import ModelSpec, hookimpl`
stays instant.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
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
    from bench.calls import Outcome, measure, report, run
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
    "Outcome",
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
    "measure",
    "report",
    "run",
]

_LAZY = {
    "MeasureRequest": "bench.request:MeasureRequest",
    "Outcome": "bench.calls:Outcome",
    "Place": "bench.request:Place",
    "Protocol": "bench.protocol:Protocol",
    "Record": "bench.records.record:Record",
    "RunOptions": "bench.request:RunOptions",
    "RunRequest": "bench.request:RunRequest",
    "Verdict": "bench.records.evidence:Verdict",
    "load_frame": "bench.records.frame:load_frame",
    "load_model": "bench.models.kept:load_model",
    "load_records": "bench.records.folder:load_records",
    "measure": "bench.calls:measure",
    "report": "bench.calls:report",
    "run": "bench.calls:run",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    return getattr(import_module(module), attribute)


class _Bench(ModuleType):
    """`bench.run`, `bench.measure` and `bench.report` are functions, though packages have these names, too.

    The import system makes a package that it has loaded an attribute of the one around it; of these it must not.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _LAZY and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Bench

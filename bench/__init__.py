"""bench: which image model gives how much accuracy for how much compute, memory and time.

The public names. `run`, `measure_models`, `load_records`, `load_frame`, `Protocol` and `Record` are loaded when first
used, so that a plugin's `from bench import ModelSpec, hookimpl` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.hookspecs import Claim, DatasetSpec, MeasureSpec, ModelSpec, Pictures, Split, hookimpl
from bench.records.quantities import Quantity
from bench.torchvision_operators import tolerate_missing_operators

if TYPE_CHECKING:
    from bench.protocol import Protocol
    from bench.records.evidence import Verdict
    from bench.records.folder import load_records
    from bench.records.frame import load_frame
    from bench.records.record import Record
    from bench.run.measuring import measure as measure_models
    from bench.run.sweep import run

__version__ = "0.1.0"
__all__ = [
    "Claim",
    "DatasetSpec",
    "MeasureSpec",
    "ModelSpec",
    "Pictures",
    "Protocol",
    "Quantity",
    "Record",
    "RequestError",
    "Split",
    "Verdict",
    "hookimpl",
    "load_frame",
    "load_records",
    "measure_models",
    "run",
]

tolerate_missing_operators()

_LAZY = {
    "Protocol": "bench.protocol:Protocol",
    "Record": "bench.records.record:Record",
    "load_frame": "bench.records.frame:load_frame",
    "load_records": "bench.records.folder:load_records",
    "Verdict": "bench.records.evidence:Verdict",
    # Not `measure`: that is the package of measurements.
    "measure_models": "bench.run.measuring:measure",
    "run": "bench.run.sweep:run",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    return getattr(import_module(module), attribute)

"""A model measured without training: results/measure/<model>/<size>px-<options>/measurement.json, and its reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bench.files import read_regular
from bench.records.efficiency import Efficiency, Part
from bench.records.quantities import Quantity
from bench.records.record import SCHEMA, Failure

FOLDER = "measure"  # in the results folder


class Measurement(Part):
    """One model's measurement; `efficiency`, `plugins` and `quantities` as in a trial's record."""

    schema_version: int = SCHEMA
    status: Literal["ok", "error"] = "ok"
    error: Failure | None = None
    model: dict[str, Any]
    settings: dict[str, Any]
    environment: dict[str, Any]
    efficiency: Efficiency
    plugins: dict[str, Any] = {}
    quantities: list[Quantity] = []


def read_measurements(folder: Path) -> tuple[list[Measurement], list[str]]:
    """All measurements below that folder, and a line for each damaged one, which is left out."""
    found, damaged = [], []
    for file in sorted(folder.glob("**/measurement.json")):
        try:
            found.append(Measurement.model_validate_json(read_regular(file)))
        except OSError as error:
            damaged.append(f"{file}: cannot be read: {error.strerror}")
        except ValidationError as error:
            damaged.append(f"{file}: not a measurement: {error.errors()[0]['msg']}")
    return found, damaged

"""What is measured without training, and its record: results/measure/<model>/<size>px-<options>/measurement.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bench.errors import RequestError, unknown
from bench.events import Event, Note
from bench.plugins import Model, load_plugins
from bench.records.record import SCHEMA, Failure, Part, RecordError, check_writable, file_name, write_text

PRECISIONS = ("fp32", "bf16", "fp16")
QUANTITIES = ("macs", "memory", "latency", "throughput", "step", "profile", "energy")


@dataclass(frozen=True)
class MeasureRequest:
    """What to measure of which models, and how."""

    models: tuple[str, ...]
    image_size: int
    classes: int
    batches: tuple[int, ...]
    train_batch: int
    only: tuple[str, ...]
    rounds: int
    precision: str
    channels_last: bool
    compile: bool
    device: str
    results: Path
    plugin_folders: tuple[Path, ...]
    working_directory: Path


class Measurement(Part):
    """One model's measurement. `efficiency` has the keys of a trial's record; what was not measured is null."""

    schema_version: int = SCHEMA
    status: Literal["ok", "error"] = "ok"
    error: Failure | None = None
    model: dict[str, Any]
    settings: dict[str, Any]
    environment: dict[str, Any]
    efficiency: dict[str, Any]

    @classmethod
    def begun(cls, model: Model, request: MeasureRequest, environment: dict[str, Any]) -> Measurement:
        """A measurement of which nothing is known yet."""
        from bench.measure.quantities import NOT_MEASURED

        return cls(
            model={
                "name": model.name,
                "plugin": model.plugin.name,
                "family": model.spec.family,
                "source": model.spec.source,
                "options": model.options_under({}),
                "code": model.plugin.code,
                "input_size": [3, request.image_size, request.image_size],
                "params": None,
                "trainable_params": None,
                "training_only_params": None,
            },
            settings={
                "image_size": request.image_size,
                "classes": request.classes,
                "train_batch": request.train_batch,
                "rounds": request.rounds,
                "precision": request.precision,
                "channels_last": request.channels_last,
                "compile": request.compile,
                "only": list(request.only),
            },
            environment=environment,
            efficiency=dict(NOT_MEASURED),
        )

    def write(self, request: MeasureRequest) -> None:
        """Write it into its folder; quantities of an earlier measurement that this one left out are not kept."""
        file = measurement_folder(request, self.model["name"]) / "measurement.json"
        write_text(file, json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n")


def measurement_folder(request: MeasureRequest, model: str) -> Path:
    """Where a model's measurement under these settings goes."""
    parts = [f"{request.image_size}px", request.precision]
    parts += ["channels-last"] if request.channels_last else []
    parts += ["compile"] if request.compile else []
    return request.results / "measure" / file_name(model) / "-".join(parts)


def load_measurements(folder: Path) -> list[Measurement]:
    """All measurements below that folder; RecordError for a damaged one."""
    found, damaged = read_measurements(folder)
    if damaged:
        raise RecordError(damaged[0])
    return found


def read_measurements(folder: Path) -> tuple[list[Measurement], list[str]]:
    """All measurements below that folder, and a line for each damaged one, which is left out."""
    found, damaged = [], []
    for file in sorted(folder.glob("**/measurement.json")):
        try:
            found.append(Measurement.model_validate_json(file.read_bytes()))
        except ValidationError as error:
            damaged.append(f"{file}: not a measurement: {error.errors()[0]['msg']}")
    return found, damaged


def measure(
    models: Sequence[str] = (),
    *,
    all_models: bool = False,
    image_size: int = 224,
    classes: int = 1000,
    batches: Sequence[int] = (),
    train_batch: int = 8,
    only: Sequence[str] = (),
    rounds: int = 24,
    precision: str = "fp32",
    channels_last: bool = False,
    compiled: bool = False,
    device: str = "auto",
    results: str | Path = "results",
    plugin_folders: Sequence[str | Path] = (),
    tell: Callable[[Event], None] = lambda event: None,
) -> list[Measurement]:
    """Measure models as they are, in a process of their own, and write their measurements.

    Raises RequestError before anything is measured where the request cannot be carried out.
    """
    from bench.run.executors.local import ProcessDiedError, call

    folders = tuple(Path(folder).resolve() for folder in plugin_folders)
    registry = load_plugins(folders)
    for problem in registry.problems:
        tell(Note(problem))
    if not models and not all_models:
        raise RequestError("name a model, or --all; `python -m bench models` lists them")
    names = [registry.model(name).name for name in (*models, *(registry.models if all_models else ()))]
    for quantity in only:
        if quantity not in QUANTITIES:
            raise unknown("quantity", quantity, QUANTITIES, "python -m bench measure --help")
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS, "python -m bench measure --help")
    check_writable(Path(results))
    request = MeasureRequest(
        models=tuple(dict.fromkeys(names)),
        image_size=image_size,
        classes=classes,
        batches=tuple(sorted(set(batches))),
        train_batch=train_batch,
        only=tuple(quantity for quantity in QUANTITIES if quantity in only) or QUANTITIES,
        rounds=rounds,
        precision=precision,
        channels_last=channels_last,
        compile=compiled,
        device=device,
        results=Path(results).resolve(),
        plugin_folders=folders,
        working_directory=Path.cwd(),
    )
    try:
        for message in call("bench.run.untrained:measure", request):
            if isinstance(message, list):
                return message
            tell(message)
    except ProcessDiedError as error:
        raise RequestError(f"measuring stopped: {error}; measure fewer models at once") from None
    raise AssertionError("a call ends with its answer, or raises")

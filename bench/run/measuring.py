"""What is measured without training, and its record: results/measure/<model>/<size>px-<options>/measurement.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.errors import RequestError, unknown
from bench.events import Event, Note
from bench.files import check_writable
from bench.plugins import load_plugins
from bench.records.measurement import Measurement
from bench.request import MeasureRequest

PRECISIONS = ("fp32", "bf16", "fp16")


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
    channels_last: bool = True,
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
        if quantity not in registry.measurements:
            raise unknown("quantity", quantity, registry.measurements, "python -m bench measure --help")
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS, "python -m bench measure --help")
    check_writable(Path(results))
    request = MeasureRequest(
        models=tuple(dict.fromkeys(names)),
        image_size=image_size,
        classes=classes,
        batches=tuple(sorted(set(batches))),
        train_batch=train_batch,
        only=tuple(name for name in registry.measurements if not only or name in only),
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

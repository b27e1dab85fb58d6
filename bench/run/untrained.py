"""`python -m bench measure`: every quantity of models as they are, without training them for accuracy.

All models are measured in one process that does nothing else: built one after another for what each
is alone with, then timed together in interleaved rounds. One model's failure does not stop the others.
"""

from __future__ import annotations

import gc
import json
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.data.batches import Batch
from bench.device import Device, choose_device
from bench.errors import RequestError
from bench.events import Event, Measuring, Note
from bench.files import file_name, write_text
from bench.hookspecs import Subject
from bench.measure import Found
from bench.measure import measure as assemble
from bench.measure.doctor import doctor
from bench.measure.environment import environment
from bench.measure.subject import InferenceOptions
from bench.models.classifier import Classifier, assembled
from bench.models.compiling import compiled_if
from bench.models.extensions import resolved_options
from bench.models.parts import parameter_counts, training_only_parameters
from bench.plugins import Model, load_plugins
from bench.protocol import Head
from bench.records.efficiency import Efficiency
from bench.records.measurement import Measurement
from bench.records.record import Failure
from bench.request import MeasureRequest
from bench.run.outline import extension_records
from bench.run.prepare import PreparedSubject, prepare_device
from bench.train.loop import Trainer

# So many bytes of parameters may be held at once for interleaved timing; then the next group begins.
TOGETHER = 4_000_000_000


def measure(request: MeasureRequest, emit: Callable[[Event], None]) -> list[Measurement]:
    """Measure the models; what cannot be measured is null, and what failed has a status that says so.

    Raises RequestError, before anything is measured, for what the user has to change.
    """
    device, _ = prepare_device(request.place.device, request.precision)
    registry = load_plugins(request.place.plugins, request.place.working_directory)
    models = [registry.model(name) for name in request.models]
    specs = [registry.measurements[name] for name in request.only]
    alone, together = ([one for one in specs if one[0].together is wanted] for wanted in (False, True))
    measurements = [begun(model, request, environment(device, request.precision)) for model in models]
    fetch = random_batches(request.train_batch, request.image_size, request.classes, device)
    subjects = [_subject(model, one, request, device, fetch) for model, one in zip(models, measurements, strict=True)]
    steps = _Steps(emit, len(models) * len(specs))
    found = [Found() for _ in models]
    held: list[tuple[PreparedSubject, Found]] = []  # what is still to be timed together
    for number, subject in enumerate(subjects):
        if subject is not None:
            assemble([(subject, found[number])], alone, steps.begin)
            subject.forget_training()
            if together:
                held.append((subject, found[number]))
        del subject
        subjects[number] = None
        gc.collect()
        device.release_memory()
        if held and (number == len(models) - 1 or sum(_held_bytes(one) for one, _ in held) > TOGETHER):
            assemble(held, together, steps.begin)
            held.clear()
    for measurement, one in zip(measurements, found, strict=True):
        _enter(measurement, one)
        for name, failure in one.failures.items():
            emit(Note(f"{measurement.model['name']}: {name} could not be measured: {failure}"))
        write(measurement, request)
    return measurements


def begun(model: Model, request: MeasureRequest, environment: dict[str, Any]) -> Measurement:
    """A measurement of which nothing is known yet."""
    return Measurement(
        model={
            "name": model.name,
            "plugin": model.plugin.name,
            "family": model.spec.family,
            "source": model.spec.source,
            "base": model.base,
            "extensions": [one.model_dump(mode="json") for one in extension_records(model)],
            "options": model.options_under({}),
            "code": model.code,
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
        efficiency=Efficiency(),
    )


def write(measurement: Measurement, request: MeasureRequest) -> None:
    """Write it into its folder; quantities of an earlier measurement that this one left out are not kept."""
    file = measurement_folder(request, measurement.model["name"]) / "measurement.json"
    write_text(file, json.dumps(measurement.model_dump(mode="json"), indent=1, allow_nan=False) + "\n")


def measurement_folder(request: MeasureRequest, model: str) -> Path:
    """Where a model's measurement under these settings goes."""
    parts = [f"{request.image_size}px", request.precision]
    parts += ["channels-last"] if request.channels_last else []
    parts += ["compile"] if request.compile else []
    return request.place.results / "measure" / file_name(model) / "-".join(parts)


class _Steps:
    """Tells of each quantity when it begins."""

    def __init__(self, emit: Callable[[Event], None], total: int) -> None:
        self.emit, self.total, self.done = emit, total, 0

    def begin(self, subject: Subject, quantity: str) -> None:
        self.emit(Measuring(subject.name, quantity, self.done, self.total))
        self.done += 1


def _subject(
    model: Model, measurement: Measurement, request: MeasureRequest, device: Device, fetch: Callable[[], Batch]
) -> PreparedSubject | None:
    """The model ready to be measured; None where it cannot be built, as its measurement then says."""
    try:
        with torch.device("meta"):
            shape = build(model, request)
    except RequestError:
        raise
    except Exception as error:
        traceback.print_exc()
        _failed(measurement, Failure.of(error))
        return None
    measurement.model["params"], measurement.model["trainable_params"] = parameter_counts(shape)
    measurement.model["training_only_params"] = training_only_parameters(shape)
    measurement.model["resolved_options"] = resolved_options(shape.backbone)
    for extension, resolved in zip(measurement.model["extensions"], shape.extension_options, strict=True):
        extension["resolved_options"] = resolved

    def make_model() -> Classifier:
        torch.manual_seed(0)
        return device.place(build(model, request))

    return PreparedSubject(
        name=model.name,
        shape=shape,
        make_model=make_model,
        make_trainer=lambda copied: _trainer(copied, request, device),
        fetch=fetch,
        image_size=request.image_size,
        device=device,
        options=InferenceOptions(request.precision, request.channels_last, request.compile),
        brief=False,
        rounds=request.rounds,
        batches=request.batches,
        folder=measurement_folder(request, model.name),
    )


def _held_bytes(subject: PreparedSubject) -> int:
    """Bytes of its parameters, and of the copy that infers."""
    return 2 * sum(parameter.nbytes for parameter in subject.shape.parameters())


def _enter(measurement: Measurement, found: Found) -> None:
    measurement.efficiency, measurement.plugins, measurement.quantities = (
        found.efficiency,
        found.plugins,
        found.quantities,
    )
    for name, failure in found.failures.items():
        if name not in found.plugins:
            _failed(measurement, failure)


def _failed(measurement: Measurement, failure: Failure) -> None:
    """Let the status say that something is missing; the first reason stands for all."""
    measurement.status = "error"
    measurement.error = measurement.error or failure


def build(model: Model, request: MeasureRequest) -> Classifier:
    """The model with one linear layer to `classes`, as published figures count it; random weights."""
    return assembled(model, request.image_size, request.classes, {}, Head())


def _trainer(model: Classifier, request: MeasureRequest, device: Device) -> Trainer:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    scaler = device.gradient_scaler(request.precision)
    forward = compiled_if(request.compile, model)
    return Trainer(model, optimizer, schedule, scaler, request.precision, device, forward)


def random_batches(count: int, size: int, classes: int, device: Device) -> Callable[[], Batch]:
    """Fetches a batch of so many pictures as training does: uint8, gathered, converted and normalised on the device."""
    pictures = device.move(torch.randint(0, 256, (2 * count, size, size, 3), dtype=torch.uint8))
    labels = device.move(torch.randint(0, classes, (2 * count,)))

    def fetch() -> Batch:
        chosen = torch.randint(0, 2 * count, (count,), device=labels.device)
        return pictures[chosen].permute(0, 3, 1, 2).float().div_(127.5).sub_(1), labels[chosen]

    return fetch


def examine(device: str, emit: Callable[[Event], None]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """This machine as records describe it, and what is missing for which command."""
    chosen = choose_device(device)
    return environment(chosen), [asdict(finding) for finding in doctor(chosen)]

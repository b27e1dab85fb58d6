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
from torch import Tensor, nn

from bench.device import Device, choose_device
from bench.errors import RequestError
from bench.events import Event, Measuring
from bench.files import file_name, write_text
from bench.measure import quantities
from bench.measure.doctor import doctor
from bench.measure.environment import environment
from bench.measure.inference import Inference, InferenceOptions
from bench.measure.speed import BATCHES, measure_latency
from bench.models.classifier import Classifier, build_backbone, build_head, features_of, resolved_options
from bench.models.parts import parameter_counts, training_only_parameters
from bench.plugins import Model, load_plugins
from bench.protocol import Head
from bench.records.efficiency import Efficiency
from bench.records.measurement import Measurement
from bench.records.record import Failure
from bench.request import MeasureRequest
from bench.train.loop import Trainer

# So many bytes of parameters may be held at once for interleaved timing; then the next group begins.
TOGETHER = 4_000_000_000


def measure(request: MeasureRequest, emit: Callable[[Event], None]) -> list[Measurement]:
    """Measure the models; what cannot be measured is null, and what failed has a status that says so.

    Raises RequestError, before anything is measured, for what the user has to change.
    """
    device = choose_device(request.place.device)
    registry = load_plugins(request.place.plugins, request.place.working_directory)
    models = [registry.model(name) for name in request.models]
    measurements = [begun(model, request, environment(device, request.precision)) for model in models]
    shapes = [_shape(model, measurement, request) for model, measurement in zip(models, measurements, strict=True)]
    steps = _Steps(emit, len(models) * len(request.only))
    held: dict[int, Inference] = {}  # what is still to be timed together
    for number, (model, measurement) in enumerate(zip(models, measurements, strict=True)):
        shape = shapes[number]
        try:
            if shape is not None:
                inference = _measure_alone(model, shape, measurement, request, device, steps)
                if inference is not None and "latency" in request.only:
                    held[number] = inference
        except Exception as error:
            _failed(measurement, error)
        shapes[number] = None
        gc.collect()
        device.release_memory()
        is_last = number == len(models) - 1
        if held and (is_last or sum(one.parameter_bytes for one in held.values()) > TOGETHER):
            for index in held:
                steps.begin(models[index].name, "latency")
            _measure_together(held, measurements, request, device)
            held.clear()
    for measurement in measurements:
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


class _Written:
    """Writes quantities into a measurement as they are known, typed."""

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement

    def update(self, values: dict[str, Any]) -> None:
        known = self._measurement.efficiency.model_dump()
        self._measurement.efficiency = Efficiency.model_validate(known | values)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})


class _Steps:
    """Tells of each quantity when it begins."""

    def __init__(self, emit: Callable[[Event], None], total: int) -> None:
        self.emit, self.total, self.done = emit, total, 0

    def begin(self, model: str, quantity: str) -> None:
        self.emit(Measuring(model, quantity, self.done, self.total))
        self.done += 1


def _shape(model: Model, measurement: Measurement, request: MeasureRequest) -> Classifier | None:
    """The model without weights, which is all that counting needs; None where it cannot be built, as recorded."""
    try:
        with torch.device("meta"):
            return build(model, request)
    except RequestError:
        raise
    except Exception as error:
        _failed(measurement, error)
        return None


def _measure_alone(
    model: Model,
    shape: Classifier,
    measurement: Measurement,
    request: MeasureRequest,
    device: Device,
    steps: _Steps,
) -> Inference | None:
    """Measure what a model is alone for; gives what infers, where timing is wanted."""
    size, wanted = request.image_size, set(request.only)
    result = _Written(measurement)
    measurement.model["params"], measurement.model["trainable_params"] = parameter_counts(shape)
    measurement.model["training_only_params"] = training_only_parameters(shape)
    measurement.model["resolved_options"] = resolved_options(shape.backbone)
    if "macs" in wanted:
        steps.begin(model.name, "macs")
        result.update(quantities.count(shape, size))
    if wanted == {"macs"}:
        return None
    torch.manual_seed(0)
    classifier = device.place(build(model, request))
    trainer = _trainer(classifier, request.precision, device)
    batch = _batches(request, device)
    if "memory" in wanted:
        steps.begin(model.name, "memory")
        result["memory"] = quantities.memory(trainer, size, *batch(), request.batches or (1, 8, 32))
    if "step" in wanted:
        steps.begin(model.name, "step")
        result["train_step"] = quantities.step_time(trainer, batch, runs=10)
    if "profile" in wanted:
        steps.begin(model.name, "profile")
        result["profile"] = quantities.profile(trainer, batch, measurement_folder(request, model.name))
    if not wanted & {"latency", "throughput", "energy"}:
        return None
    options = InferenceOptions(request.precision, request.channels_last, request.compile)
    trainer.optimizer.zero_grad(set_to_none=True)
    inference = Inference(classifier, size, device, options)
    if "throughput" in wanted:
        steps.begin(model.name, "throughput")
        memory = measurement.efficiency.memory
        peaks: dict[int, Any] = (
            {int(batch): peak for batch, peak in memory.inference_peak.items()} if memory else {1: None}
        )
        result["throughput"] = quantities.throughput(inference, peaks, request.batches or BATCHES, 6, 0.2)
    if "energy" in wanted:
        steps.begin(model.name, "energy")
        result["energy_joules"] = quantities.energy(trainer, inference, batch, request.train_batch)
    return inference


def _measure_together(
    held: dict[int, Inference], measurements: list[Measurement], request: MeasureRequest, device: Device
) -> None:
    """Batch-1 latency of all models held, in interleaved rounds."""
    runs = {str(number): inference.with_batch(1) for number, inference in held.items()}
    try:
        latencies = measure_latency(runs, device, request.rounds)
    except Exception as error:
        for number in held:
            _failed(measurements[number], error)
        return
    for number, inference in held.items():
        latency = quantities.latency_ms(latencies[str(number)], inference)
        _Written(measurements[number])["latency_ms"] = {**latency, "interleaved_with": len(held) - 1}


def _failed(measurement: Measurement, error: Exception) -> None:
    traceback.print_exc()
    measurement.status = "error"
    measurement.error = Failure(type=type(error).__name__, message=str(error).partition("\n")[0])


def build(model: Model, request: MeasureRequest) -> Classifier:
    """The model with one linear layer to `classes`, as published figures count it; random weights."""
    backbone = build_backbone(model, request.image_size, request.classes, {}, pretrained=False)
    features = features_of(model.name, backbone, request.image_size)
    return Classifier(backbone, build_head(features, Head(), request.classes))


def _trainer(model: nn.Module, precision: str, device: Device) -> Trainer:
    assert isinstance(model, Classifier)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return Trainer(model, optimizer, schedule, device.gradient_scaler(precision), precision, device)


def _batches(request: MeasureRequest, device: Device) -> Callable[[], tuple[Tensor, Tensor]]:
    """Fetches a training batch as training does: uint8 pictures, gathered, converted and normalised on the device."""
    count, size = request.train_batch, request.image_size
    pictures = device.keep(torch.randint(0, 256, (2 * count, 3, size, size), dtype=torch.uint8))
    labels = device.keep(torch.randint(0, request.classes, (2 * count,)))

    def fetch() -> tuple[Tensor, Tensor]:
        chosen = torch.randperm(2 * count)[:count].to(pictures.device)
        return device.move(pictures[chosen]).float().div_(127.5).sub_(1), device.move(labels[chosen])

    return fetch


def examine(device: str, emit: Callable[[Event], None]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """This machine as records describe it, and what is missing for which command."""
    chosen = choose_device(device)
    return environment(chosen), [asdict(finding) for finding in doctor(chosen)]

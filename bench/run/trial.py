"""One model, one seed, one protocol → one Record. The main road, top to bottom.

    data → model → what is trainable → train → evaluate → measure → Record

A trial never raises for what goes wrong inside it: the record says what it was. Only RequestError
passes, for a request that should have been refused before.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn

from bench.data.batches import Batch, Batches
from bench.data.splits import subsets
from bench.device import Device, choose_device, native_bf16
from bench.errors import RequestError
from bench.events import Event
from bench.files import write_bytes
from bench.measure import quantities
from bench.measure.environment import environment
from bench.measure.inference import Inference, InferenceOptions
from bench.measure.memory import out_of_memory
from bench.measure.speed import measure_latency
from bench.models.classifier import build_classifier, preparation, resolved_options
from bench.models.freezing import freeze
from bench.models.kept import KeptModel, write_model
from bench.models.parts import parameter_counts, training_only_parameters
from bench.models.weights.load import state_digest
from bench.plugins import Model, Registry, load_plugins
from bench.protocol import Protocol
from bench.records import record as records
from bench.records.efficiency import Efficiency
from bench.records.record import Record
from bench.request import TrialSpec
from bench.run.keep import keep, write_predictions
from bench.run.thumbnails import pictures_file
from bench.train.loop import DivergedError, Evaluation, Trainer, evaluate, make_trainer
from bench.train.metrics import accuracy
from bench.train.training import remove_checkpoints, train


@dataclass(frozen=True)
class TrainedModel:
    """What `bench_measure` sees: the model with its best epoch's weights, and what it was trained with."""

    name: str
    model: nn.Module
    seed: int
    protocol: Protocol
    device: Device
    precision: str
    test: Batches
    evaluation: Evaluation


def run(spec: TrialSpec, emit: Callable[[Event], None] = lambda event: None) -> Record:
    """Run the trial and write its record, predictions and log into `spec.folder`."""
    started = time.perf_counter()
    registry = load_plugins(spec.place.plugins, spec.place.working_directory)
    record = outline(spec, registry.model(spec.model))
    spec.folder.mkdir(parents=True, exist_ok=True)
    try:
        _run(spec, registry, record, emit)
        record.status = "ok"
    except RequestError:
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)  # the log; the record has the one line
        record.status = status_of(error)
        record.error = records.Failure(type=type(error).__name__, message=str(error).partition("\n")[0])
    record.seconds = time.perf_counter() - started
    keep(spec, record)
    if record.status == "ok":
        remove_checkpoints(spec, registry.model(spec.model))
    return record


def _run(spec: TrialSpec, registry: Registry, record: Record, emit: Callable[[Event], None]) -> None:
    protocol, model_asked = spec.protocol, registry.model(spec.model)
    device = choose_device(spec.place.device)
    device.tune_kernels()
    precision = protocol.train.precision
    if precision == "auto":
        precision = "bf16" if native_bf16(device) else "fp32"
    record.environment = environment(device, precision=precision) | {"options": spec.options.record()}

    # model, and what of it trains
    torch.manual_seed(spec.seed)
    model = build_classifier(model_asked, protocol, len(spec.stored.classes), spec.weights)
    freeze(model, protocol.train.what, model_asked.last_block, model_asked.name)
    model = device.place(model)
    prepare = preparation(model.backbone, protocol.data.image_size)
    record.model.params, record.model.trainable_params = parameter_counts(model)
    record.model.training_only_params = training_only_parameters(model)
    record.model.resolved_options = resolved_options(model.backbone)
    record.model.input_size = [3, prepare.image_size, prepare.image_size]
    record.model.weights = weights_record(spec, model.backbone) | {"mean": prepare.mean, "std": prepare.std}

    # data
    parts = subsets(spec.stored, protocol)
    batches = {
        part: Batches(spec.stored, subset, prepare, protocol.train.batch_size, device) for part, subset in parts.items()
    }

    # train, then evaluate the best epoch's weights, once
    record.training = train(spec, model_asked, model, batches["train"], batches["val"], precision, emit)
    device.release_memory()  # the features of a frozen prefix
    test = evaluate(model, batches["test"], precision, device)
    best_val_top1 = record.training.history.val_top1[record.training.best_epoch - 1]
    record.accuracy = records.Accuracy.model_validate(
        accuracy(test.probabilities.numpy(), test.labels.numpy(), spec.stored.classes, test.loss, best_val_top1)
    )
    write_predictions(spec, test, parts["test"])
    write_model(spec.folder, model, KeptModel.of(model_asked, protocol, spec.stored.classes, prepare))
    labels, probabilities = test.labels.numpy(), test.probabilities.float().numpy()
    pictures = pictures_file(spec.stored, parts["train"], parts["test"], labels, probabilities)
    write_bytes(spec.folder / "pictures.npz", pictures)

    # measure
    trained = TrainedModel(spec.model, model, spec.seed, protocol, device, precision, batches["test"], test)
    record.plugins = extra_measurements(registry, trained)
    trainer = make_trainer(model, protocol, batches["train"].steps, precision, device)
    try:
        record.efficiency = Efficiency.model_validate(efficiency(spec, trainer, batches["train"]))
    except Exception as error:  # what was trained and evaluated stays true
        traceback.print_exc(file=sys.stderr)
        record.efficiency = Efficiency(error=f"{type(error).__name__}: {error}")


def record_failure(
    spec: TrialSpec, status: records.Status, message: str, seconds: float, emit: Callable[[Event], None]
) -> Record:
    """Write the record of a trial whose own process could not."""
    record = outline(spec, load_plugins(spec.place.plugins, spec.place.working_directory).model(spec.model))
    record.status = status
    record.error = records.Failure(type=status, message=message)
    record.seconds = seconds
    keep(spec, record)
    return record


def outline(spec: TrialSpec, model: Model) -> Record:
    """The record as far as it is known before the trial runs; also what is written where it dies."""
    counts = {part: len(subset.indices) for part, subset in subsets(spec.stored, spec.protocol).items()}
    return Record(
        status="error",
        seed=spec.seed,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        model=records.ModelRecord(
            name=spec.model,
            plugin=model.plugin.name,
            family=model.spec.family,
            source=model.spec.source,
            options=model.options_under(dict(spec.protocol.model.options)),
            code=model.plugin.code,
        ),
        protocol=records.ProtocolRecord(
            name=spec.protocol.name,
            fingerprint=spec.protocol.fingerprint,
            settings=spec.protocol.settings(),
            description=spec.protocol.description,
        ),
        data=records.DataRecord(
            name=spec.stored.name, fingerprint=spec.stored.fingerprint, classes=list(spec.stored.classes), **counts
        ),
    )


def weights_record(spec: TrialSpec, backbone: nn.Module) -> dict[str, Any]:
    """Which weights the backbone starts from: the file's name and SHA-256, or those of what the plugin loaded."""
    source = spec.protocol.model.weights
    if source == "scratch":
        return {"source": source}
    if spec.weights is None:
        return {"source": source, "origin": "plugin", "file": None, "sha256": state_digest(backbone)}
    return {
        "source": source,
        "origin": spec.weights.origin,
        "file": spec.weights.file.name,
        "sha256": spec.weights.sha256,
    }


def extra_measurements(registry: Registry, trained: TrainedModel) -> dict[str, Any]:
    """What each plugin's `bench_measure` gives, under the plugin's name; a failing one is reported there."""
    extra: dict[str, Any] = {}
    for hook in registry.manager.hook.bench_measure.get_hookimpls():
        try:
            answer = hook.function(*[trained for _ in hook.argnames])
            json.dumps(answer, allow_nan=False)  # it must go into the record
        except Exception as error:  # a stranger's measurement must not cost the trial
            answer = {"error": f"{type(error).__name__}: {error}"}
        if answer is not None:
            extra[hook.plugin_name] = answer
    return extra


def efficiency(spec: TrialSpec, trainer: Trainer, train: Batches) -> dict[str, Any]:
    """The record's `efficiency`, briefly: `python -m bench measure` takes its time. Trains a few steps more."""
    size, device = spec.protocol.data.image_size, trainer.device
    later = itertools.count(spec.protocol.train.epochs)
    batches = itertools.chain.from_iterable(
        train.shuffled(spec.seed, epoch, spec.protocol.augmentation) for epoch in later
    )

    def batch() -> Batch:
        return next(batches)

    sizes = sorted({8, train.batch_size})
    counted = quantities.count(trainer.model, size)
    memory = quantities.memory(trainer, size, *batch(), sizes)
    step = quantities.step_time(trainer, batch, runs=4)
    profile = quantities.profile(trainer, batch, spec.folder, steps=1)
    inference = Inference(trainer.model, size, device, InferenceOptions(trainer.precision, channels_last=True))
    latency = measure_latency({"": inference.with_batch(1)}, device, rounds=8, seconds=0.05)[""]
    return {
        **quantities.NOT_MEASURED,
        **counted,
        "memory": memory,
        "train_step": step,
        "profile": profile,
        "latency_ms": quantities.latency_ms(latency, inference),
        "throughput": quantities.throughput(inference, memory["inference_peak"], sizes, rounds=6, seconds=0.05),
        "energy_joules": quantities.energy(trainer, inference, batch, train.batch_size),
    }


def status_of(error: Exception) -> records.Status:
    """The record's word for what went wrong."""
    if isinstance(error, DivergedError):
        return "diverged"
    return "oom" if out_of_memory(error) else "error"

"""Extensions applied to a trained model, without training: its kept weights, the same test pictures, measured anew.

What comes of it is a record like a trial's, in the trial's folder `applied/EXTENSION`, and a timing session beside.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from bench.data.batches import Batches
from bench.data.cache import prepare
from bench.data.splits import subsets
from bench.errors import RequestError
from bench.events import Note, Tell
from bench.files import file_name
from bench.measure.environment import environment
from bench.models.classifier import Classifier, assembled
from bench.models.freezing import freeze
from bench.models.kept import KeptModel, load_model, read_description
from bench.plugins import Model, Registry, load_plugins
from bench.protocol import Protocol
from bench.records.comparison import APPLIED, Trial, read_trial
from bench.records.identity import way_of
from bench.records.record import NAME, Record, RecordError, write_record
from bench.request import AppliedRequest, RunOptions, TrialSpec
from bench.run.describe import describe_model
from bench.run.outline import known_of, outline
from bench.run.prepare import Prepared, prepare_batches, prepare_device
from bench.run.trial import enter_accuracy, measure_trained, trained_subject
from bench.train.loop import evaluate


def apply_extensions(request: AppliedRequest, emit: Tell) -> list[Path]:
    """Apply each extension to each trial's model; the folders of the records, which are written.

    Raises RequestError, before anything is measured, for a folder that holds no finished trial or no weights, for
    other pictures than the trial's, and for an extension that does not fit or would have to be trained.
    """
    registry = load_plugins(request.place.plugins, request.place.working_directory)
    pairs = itertools.product(request.trials, request.extensions)
    ready = [_Applied(folder, extension, registry, request, emit) for folder, extension in pairs]
    return [one.carried_out(registry, emit) for one in ready]


class _Applied:
    """One extension and one trial, found right: the model is built, and has the trained weights."""

    def __init__(self, folder: Path, extension: str, registry: Registry, request: AppliedRequest, emit: Tell) -> None:
        self.trial, self.described = _finished(folder), read_description(folder)
        record = self.trial.record
        asked = registry.model(f"{record.model.name}+{extension}")
        protocol = Protocol.model_validate({"name": record.protocol.name, **record.protocol.settings})
        self.trained = load_model(folder, request.place.plugins)
        self.classifier = _with_weights_of(self.trained, asked, self.described)
        freeze(self.classifier, protocol.train.what, asked.last_block, asked.name)
        name = request.data or protocol.data.dataset
        dataset, location = registry.dataset(name)
        stored = prepare(dataset, location, protocol.data.image_size, emit, protocol.data.resize)
        if stored.fingerprint != record.data.fingerprint:
            raise RequestError(f"{folder}: was tested on other pictures than {name}: name its own with --data")
        self.asked = asked
        self.spec = TrialSpec(
            asked.name,
            record.seed,
            protocol,
            stored,
            (folder / APPLIED / file_name(asked.extensions[-1].name)).absolute(),
            request.place,
            options=RunOptions(keep_weights=False, deterministic=_deterministic(record)),
            counts={part: len(subset.indices) for part, subset in subsets(stored, protocol).items()},
        )

    def carried_out(self, registry: Registry, emit: Tell) -> Path:
        """The folder with the record of what the model does now."""
        started = time.perf_counter()
        spec, options = self.spec, self.spec.options
        place, wanted = spec.place.device, spec.protocol.train.precision
        device, precision = prepare_device(place, wanted, deterministic=options.deterministic)
        model = device.place(self.classifier)
        batches = prepare_batches(spec.protocol, spec.stored, model, device)
        prepared = Prepared(device, precision, model, batches)
        record = outline(spec, known_of(self.asked, spec.protocol))
        record.environment = environment(device, precision=precision) | {"options": options.record()}
        describe_model(record.model, spec, prepared)
        record.model.weights = {"source": "trial", "origin": "applied", "sha256": self.described.sha256}
        self._check_weights(prepared, emit)
        val, test = (evaluate(model, batches[part], prepared.precision, device) for part in ("val", "test"))
        enter_accuracy(record, spec, test, val.top1, batches["test"], spec.folder)
        record.status = "ok"
        measure_trained(spec, trained_subject(spec, prepared, test), registry, record, emit)
        record.seconds = time.perf_counter() - started
        write_record(spec.folder, record)
        return spec.folder

    def _check_weights(self, prepared: Prepared, emit: Tell) -> None:
        """Say where the trained model itself does not do here what its record says."""
        batches: Batches = prepared.batches["test"]
        trained = prepared.device.place(self.trained)
        found = evaluate(trained, batches, prepared.precision, prepared.device).top1
        record: Record = self.trial.record
        recorded = record.accuracy.test_top1 if record.accuracy else None
        if recorded is not None and abs(found - recorded) * len(batches) > 0.5:
            emit(Note(f"{record.model.name}: gets {found:.2%} right here, {recorded:.2%} where it was trained"))


def _deterministic(record: Record) -> bool:
    way = way_of(record)
    return way is not None and way.deterministic


def _finished(folder: Path) -> Trial:
    try:
        trial = read_trial(folder)
    except (OSError, RecordError) as error:
        why = str(error) if isinstance(error, RecordError) else f"{folder}: holds no {NAME}"
        raise RequestError(f"{why}: name the folder of a trial, such as results/quick/vit_tiny/seed0") from None
    if trial.record.status != "ok" or trial.record.accuracy is None:
        raise RequestError(f"{folder}: that trial did not end well ({trial.ended})")
    return trial


def _with_weights_of(trained: Classifier, asked: Model, described: KeptModel) -> Classifier:
    """The extended model with what the trial has learned."""
    state = trained.state_dict()
    classes = len(described.classes)
    classifier = assembled(asked, described.image_size, classes, described.options, described.head)
    if added := sorted(classifier.state_dict().keys() - state.keys()):
        name = asked.extensions[-1].name
        raise RequestError(f"{name} adds {added[0]}, which has to be trained: python -m bench run {asked.name}")
    classifier.load_state_dict(state)
    return classifier.eval()

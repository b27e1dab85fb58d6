"""A finished trial, opened once more: its kept weights and its own pictures, found right before anything is done."""

from __future__ import annotations

from pathlib import Path

from bench.data.cache import prepare
from bench.data.splits import subsets
from bench.errors import RequestError
from bench.events import Note, Tell
from bench.models.classifier import Classifier
from bench.models.kept import load_model, read_description
from bench.plugins import Model, Registry
from bench.protocol import Protocol
from bench.records.comparison import Trial, read_trial
from bench.records.identity import way_of
from bench.records.record import NAME, Record, RecordError
from bench.request import Place, RunOptions, TrialSpec
from bench.run.prepare import Prepared, prepare_batches, prepare_device
from bench.train.loop import Evaluation, evaluate


class Reopened:
    """The trial in that folder: what its record and its files say of it, and its trained model.

    `data` says where its pictures are, if not where its protocol says. Raises RequestError for a folder that holds no
    finished trial or no weights, and for other pictures than the trial's.
    """

    def __init__(self, folder: Path, place: Place, data: str | None, registry: Registry, emit: Tell) -> None:
        self.trial, self.described = _finished(folder), read_description(folder)
        self.folder, self.place = folder, place
        record = self.record
        self.protocol = Protocol.model_validate({"name": record.protocol.name, **record.protocol.settings})
        self.trained = load_model(folder, place.plugins)
        name = data or self.protocol.data.dataset
        dataset, location = registry.dataset(name)
        self.stored = prepare(dataset, location, self.protocol.data.image_size, emit, self.protocol.data.resize)
        if self.stored.fingerprint != record.data.fingerprint:
            raise RequestError(f"{folder}: was tested on other pictures than {name}: name its own with --data")

    @property
    def record(self) -> Record:
        """As it was when the trial was opened."""
        return self.trial.record

    def spec(self, asked: Model, folder: Path) -> TrialSpec:
        """The trial as one of that model, whose files go to that folder."""
        way = way_of(self.record)
        deterministic = way is not None and way.deterministic
        return TrialSpec(
            asked.name,
            self.record.seed,
            self.protocol,
            self.stored,
            folder.absolute(),
            self.place,
            options=RunOptions(keep_weights=False, deterministic=deterministic),
            counts={part: len(subset.indices) for part, subset in subsets(self.stored, self.protocol).items()},
        )

    def prepared(self, classifier: Classifier, spec: TrialSpec) -> Prepared:
        """The classifier on the device, with its batches."""
        place, wanted = self.place.device, self.protocol.train.precision
        device, precision = prepare_device(place, wanted, deterministic=spec.options.deterministic)
        model = device.place(classifier)
        return Prepared(device, precision, model, prepare_batches(self.protocol, self.stored, model, device))

    def tested(self, prepared: Prepared, emit: Tell) -> Evaluation:
        """What the trained model itself does here; says where that is not what its record says."""
        batches = prepared.batches["test"]
        found = evaluate(prepared.device.place(self.trained), batches, prepared.precision, prepared.device)
        recorded = self.record.accuracy.test_top1 if self.record.accuracy else None
        if recorded is not None and abs(found.top1 - recorded) * len(batches) > 0.5:
            now = f"{found.top1:.2%} right here, {recorded:.2%} where it was trained"
            emit(Note(f"{self.record.model.name}: gets {now}"))
        return found


def _finished(folder: Path) -> Trial:
    try:
        trial = read_trial(folder)
    except (OSError, RecordError) as error:
        why = str(error) if isinstance(error, RecordError) else f"{folder}: holds no {NAME}"
        raise RequestError(f"{why}: name the folder of a trial, such as results/quick/vit_tiny/seed0") from None
    if trial.record.status != "ok" or trial.record.accuracy is None:
        raise RequestError(f"{folder}: that trial did not end well ({trial.ended})")
    return trial

"""Extensions applied to a trained model, without training: its kept weights, the same test pictures, measured anew.

What comes of it is a record like a trial's, in the trial's folder `applied/EXTENSION`, and a timing session beside.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from bench.errors import RequestError
from bench.events import Tell
from bench.files import file_name
from bench.measure.environment import environment
from bench.models.classifier import Classifier, assembled
from bench.models.freezing import freeze
from bench.models.kept import KeptModel
from bench.plugins import Model, Registry, load_plugins
from bench.records.comparison import APPLIED
from bench.records.record import write_record
from bench.request import AppliedRequest
from bench.run.describe import describe_model
from bench.run.outline import known_of, outline
from bench.run.reopened import Reopened
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
        self.opened = Reopened(folder, request.place, request.data, registry, emit)
        self.asked = registry.model(f"{self.opened.record.model.name}+{extension}")
        self.classifier = _with_weights_of(self.opened.trained, self.asked, self.opened.described)
        freeze(self.classifier, self.opened.protocol.train.what, self.asked.last_block, self.asked.name)
        self.spec = self.opened.spec(self.asked, folder / APPLIED / file_name(self.asked.extensions[-1].name))

    def carried_out(self, registry: Registry, emit: Tell) -> Path:
        """The folder with the record of what the model does now."""
        started = time.perf_counter()
        spec, opened = self.spec, self.opened
        prepared = opened.prepared(self.classifier, spec)
        model, batches, device = prepared.model, prepared.batches, prepared.device
        record = outline(spec, known_of(self.asked, spec.protocol))
        record.environment = environment(device, precision=prepared.precision) | {"options": spec.options.record()}
        describe_model(record.model, spec, prepared)
        record.model.weights = {"source": "trial", "origin": "applied", "sha256": opened.described.sha256}
        opened.tested(prepared, emit)
        val, test = (evaluate(model, batches[part], prepared.precision, device) for part in ("val", "test"))
        enter_accuracy(record, spec, test, val.top1, batches["test"], spec.folder)
        record.status = "ok"
        measure_trained(spec, trained_subject(spec, prepared, test), registry, record, emit)
        record.seconds = time.perf_counter() - started
        write_record(spec.folder, record)
        return spec.folder


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

"""A trial: its record says what it was, keeps what it reached, and tells what went wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.data.batches import Batches
from bench.data.in_use import sole_use
from bench.events import EpochEnded, Event, Note
from bench.measure import measure
from bench.models.kept import load_model
from bench.plugins import Registry
from bench.records import record as records
from bench.records.sound import contradiction
from bench.request import RunOptions, TrialSpec
from bench.run import keep, trial
from bench.run.failure import record_failure
from bench.train.loop import Evaluation, evaluate

# A model with an operator that has no kernel which always gives the same, on the CPU either.
PUTS = """
from bench import ModelSpec, hookimpl

def build(*, num_classes, image_size, pretrained):
    import torch
    class Puts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3 * image_size**2, 8)
        def forward(self, images):
            features = self.layer(images.flatten(1))
            place = torch.zeros(1, dtype=torch.long, device=images.device)
            return features + torch.zeros(8, device=images.device).put_(place, features[0, :1].float())
    return Puts()

@hookimpl
def bench_models():
    yield ModelSpec("puts", build, "mlp")
"""


def as_read(record: records.Record) -> records.Record:
    """The record as it comes out of its file: tuples are lists there, and keys text."""
    return records.Record.model_validate_json(json.dumps(record.to_json()))


@pytest.mark.slow
def test_a_trial_evaluates_the_test_pictures_once(
    tiny_trial: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.train import loop as training

    evaluated: list[int] = []

    def counted(model: nn.Module, batches: Batches, *how: Any, **more: Any) -> Evaluation:
        evaluated.append(len(batches))
        return evaluate(model, batches, *how, **more)

    monkeypatch.setattr(trial, "evaluate", counted)
    monkeypatch.setattr(training, "evaluate", counted)
    spec = tiny_trial("data.test_limit=110")
    record = trial.run(spec)
    assert record.error is None
    assert evaluated.count(110) == 1
    assert evaluated[-1] == 110
    assert record.data.test == 110


@pytest.mark.slow
def test_a_trial_s_record_says_what_it_was_and_agrees_with_its_predictions(tiny_trial: Callable[..., Any]) -> None:
    spec = tiny_trial("train.what=last-block", model="tiny:width=4", seed=3)
    record = trial.run(spec)
    assert record.status == "ok"
    assert as_read(record) == records.read_record(spec.folder / "record.json")
    assert (record.model.name, record.model.options, record.seed) == ("tiny:width=4", {"width": 4}, 3)
    assert record.model.input_size == [3, 8, 8]
    assert record.protocol.fingerprint == spec.protocol.fingerprint
    assert record.training is not None
    assert record.accuracy is not None
    assert record.training.epochs == len(record.training.history.val_top1) == 3
    assert record.accuracy.val_top1 == max(record.training.history.val_top1)
    with np.load(spec.folder / "predictions.npz") as predictions:
        right = predictions["probabilities"].argmax(1) == predictions["label"]
        assert record.accuracy.test_top1 == pytest.approx(right.mean())
        assert (spec.stored.labels("test")[predictions["index"]] == predictions["label"]).all()
    assert not list(spec.folder.glob("checkpoint-*"))


def plugin(folder: Path, body: str) -> Path:
    """A plugin with the model `mine`, whose backbone's forward pass ends in `body`."""
    folder.mkdir()
    (folder / "mine.py").write_text(f"""
from pathlib import Path
from bench import ModelSpec, RequestError, hookimpl

def build(*, num_classes, image_size, pretrained):
    import torch
    class Backbone(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3 * image_size**2, 8)
            self.calls = 0
        def forward(self, images):
            features = self.layer(images.flatten(1))
            self.calls += self.training
            {body}
            return features
    return Backbone()

@hookimpl
def bench_models():
    yield ModelSpec("mine", build, "mlp")
""")
    return folder


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("if self.training: raise ZeroDivisionError('of course')", "error", "of course"),
        ("if self.training: raise MemoryError('all of it')", "oom", "all of it"),
        ("if self.training: raise torch.OutOfMemoryError('CUDA out of memory')", "oom", "CUDA out of memory"),
        ("if self.training: torch.empty(2**55)", "oom", "allocate memory"),
        ("if self.training: features = features * float('nan')", "diverged", "a lower learning rate"),
        ("if not self.training: features = features * float('nan')", "diverged", "validation"),
    ],
)
def test_what_goes_wrong_in_a_trial_is_in_its_record(
    body: str, status: str, says: str, tiny_trial: Callable[..., Any], tmp_path: Path
) -> None:
    spec = tiny_trial(model="mine", plugins=plugin(tmp_path / "mine", body))
    record = trial.run(spec)
    assert record.error is not None
    assert (record.status, says in record.error.message) == (status, True), record.error
    assert as_read(record) == records.read_record(spec.folder / "record.json")
    assert (record.data.train, record.model.name) == (200, "mine")


MEASUREMENTS = """
from bench import MeasureSpec, Quantity, hookimpl

def images(subject):
    return {"tested": sum(len(labels) for _, labels in subject.trained.test()), "of": subject.name}

def spoils(subject):
    for parameter in subject.model.parameters():
        parameter.data.zero_()
    return subject.trained.seed

@hookimpl
def bench_measurements():
    many = Quantity(key="tested", label="tested", about="test pictures", path="tested", kind="count", better=None)
    yield MeasureSpec("images", images, (many,))
    yield MeasureSpec("spoils", spoils)
    yield MeasureSpec("raises", lambda subject: 1 / 0)
    yield MeasureSpec("nan", lambda subject: float("nan"))
    yield MeasureSpec("set", lambda subject: {1, 2})
"""


@pytest.mark.slow
def test_what_plugins_measure_is_in_the_record_with_its_quantities_and_each_fails_alone(
    tiny_trial: Callable[..., Any], tmp_path: Path
) -> None:
    folder = plugin(tmp_path / "mine", "pass")
    (folder / "measures.py").write_text(MEASUREMENTS)
    spec, told = tiny_trial(model="mine", plugins=folder, seed=7), []
    trial.run(spec, told.append)
    record = records.read_record(spec.folder / "record.json")
    assert record.status == "ok"
    assert record.plugins["images"] == {"tested": 100, "of": "mine"}
    assert record.plugins["spoils"] == 7
    assert record.plugins["raises"] == {"error": "ZeroDivisionError: division by zero"}
    assert "ValueError" in record.plugins["nan"]["error"]
    assert "TypeError" in record.plugins["set"]["error"]
    (quantity,) = record.quantities
    assert (quantity.key, quantity.path, quantity.value(record)) == ("tested", "plugins.images.tested", 100)
    assert record.efficiency is not None and record.efficiency.memory is not None
    notes = [one.text for one in told if isinstance(one, Note)]
    assert "mine: raises could not be measured: ZeroDivisionError: division by zero" in notes


def test_all_that_a_trial_keeps_is_written_before_anything_is_measured(
    tiny_trial: Callable[..., Any], tmp_path: Path
) -> None:
    folder = plugin(tmp_path / "mine", "pass")
    (folder / "measures.py").write_text(
        "import json, os\nfrom bench import MeasureSpec, hookimpl\n\n"
        "def files(subject):\n"
        "    record = json.loads((subject.folder / 'record.json').read_text())\n"
        "    return [sorted(os.listdir(subject.folder)), *map(record.get, ('status', 'accuracy', 'efficiency'))]\n\n"
        "@hookimpl(tryfirst=True)\ndef bench_measurements():\n    yield MeasureSpec('files', files)\n"
    )
    record = trial.run(tiny_trial(model="mine", plugins=folder))
    files, status, accuracy, efficiency = record.plugins["files"]
    assert {"record.json", "model.safetensors", "model.json", "predictions.npz", "pictures.npz"} <= set(files)
    assert (status, efficiency) == ("ok", None)
    assert record.accuracy is not None and accuracy == json.loads(record.accuracy.model_dump_json())


@pytest.mark.slow
def test_measuring_leaves_the_model_as_it_was(
    tiny_trial: Callable[..., Any], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[trial.PreparedSubject] = []
    before: dict[str, torch.Tensor] = {}

    def watched(subjects: Any, *rest: Any) -> None:
        ((subject, _),) = subjects
        seen.append(subject)
        before.update({name: tensor.clone() for name, tensor in subject.model.state_dict().items()})
        measure(subjects, *rest)

    monkeypatch.setattr(trial, "measure", watched)
    trial.run(tiny_trial("train.what=last-block", model="tiny:dropout=0.3"))
    (subject,) = seen
    after = subject.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in subject.model.modules())
    assert all(parameter.grad is None for parameter in subject.model.parameters())
    assert any(not torch.equal(before[name], tensor) for name, tensor in subject.training.model.state_dict().items())


def test_no_weights_are_kept_where_none_are_wanted_nor_an_earlier_trial_s(tiny_trial: Callable[..., Any]) -> None:
    spec = tiny_trial("train.epochs=1")
    spec.folder.mkdir(parents=True)
    (spec.folder / "model.safetensors").touch()
    trial.run(replace(spec, options=replace(spec.options, keep_weights=False)))
    assert not list(spec.folder.glob("model.*"))


def test_a_process_that_dies_between_measurements_costs_only_the_measurements(tiny_trial: Callable[..., Any]) -> None:
    spec = tiny_trial()
    before = trial.run(spec)
    records.write_record(spec.folder, before.model_copy(update={"efficiency": None}))
    record = record_failure(spec, spec.known, "crashed", "ended by SIGKILL", 5.0)
    assert (record.status, record.accuracy) == ("ok", before.accuracy)
    assert record.efficiency is not None
    assert record.efficiency.errors == {"measuring": "crashed: ended by SIGKILL"}
    assert records.read_record(spec.folder / "record.json").status == "ok"


def test_a_finished_record_gives_way_to_a_finished_one_alone(tiny_trial: Callable[..., Any], tmp_path: Path) -> None:
    stop = "if self.training and self.calls > CALLS: raise KeyboardInterrupt"
    folder = plugin(tmp_path / "mine", stop.replace("CALLS", "999"))
    spec = tiny_trial(model="mine", plugins=folder)
    assert trial.run(spec).status == "ok"
    before = {file.name: file.read_bytes() for file in spec.folder.iterdir()}
    text = (folder / "mine.py").read_text()
    for calls, fails in (("0", "raise KeyboardInterrupt"), ("0", "raise ValueError('no')")):
        (folder / "mine.py").write_text(text.replace("999", calls).replace("raise KeyboardInterrupt", fails))
        again = replace(spec, known=None, fresh=True)
        with suppress(KeyboardInterrupt):
            assert trial.run(again).status == "error"
        record_failure(again, spec.known, "interrupted", "interrupted by the user", 1.0)
        now = {file.name: file.read_bytes() for file in spec.folder.iterdir() if file.is_file()}
        assert now == before
    (folder / "mine.py").write_text(text.replace("999", "998"))
    trial.run(replace(spec, known=None, fresh=True))
    assert (spec.folder / "record.json").read_bytes() != before["record.json"]
    assert {"model.safetensors", "predictions.npz"} <= {file.name for file in spec.folder.iterdir()}


@pytest.mark.parametrize("cut", range(6))
def test_what_takes_an_earlier_trial_s_place_is_whole_wherever_it_was_cut(
    cut: int, tiny_trial: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of the earlier one go, since the later one keeps none; then all else comes, or nothing does."""
    spec = tiny_trial("train.epochs=1")
    trial.run(spec)
    later = replace(spec, options=replace(spec.options, keep_weights=False), fresh=True)
    left = cut
    changes = {name: getattr(Path, name) for name in ("replace", "unlink")}

    def until_cut(name: str) -> Callable[..., Any]:
        def change(self: Path, *arguments: Any, **named: Any) -> Any:
            nonlocal left
            if self.name in keep.BESIDE or self.name == "record.json":
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
            return changes[name](self, *arguments, **named)

        return change

    with monkeypatch.context() as patch:
        for name in changes:
            patch.setattr(Path, name, until_cut(name))
        with suppress(KeyboardInterrupt):
            trial.run(later)
    keep.settle(spec.folder)
    record = records.read_record(spec.folder / "record.json")
    assert contradiction(record, spec.folder) is None
    assert not (spec.folder / keep.NEW).exists()
    assert load_model(spec.folder, [*spec.place.plugins]) if (spec.folder / "model.json").exists() else True


def test_a_trial_does_not_go_on_from_what_a_changed_plugin_had_trained(
    tiny_trial: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = "if self.calls == 5: raise KeyboardInterrupt"
    folder = plugin(tmp_path / "mine", stop)
    spec = tiny_trial(model="mine", plugins=folder)  # three batches an epoch: interrupted in the second
    with pytest.raises(KeyboardInterrupt):
        trial.run(spec)
    text = (folder / "mine.py").read_text()
    (folder / "mine.py").write_text(text.replace(stop, "features = 2 * features"))
    for name in [name for name in sys.modules if name.startswith("bench_plugin_mine")]:
        monkeypatch.delitem(sys.modules, name)
    again = replace(spec, known=None)
    said: list[Event] = []
    assert trial.run(again, said.append).status == "ok"
    assert [event.epoch for event in said if isinstance(event, EpochEnded)] == [1, 2, 3]


@pytest.mark.slow
def test_while_a_trial_runs_nobody_else_has_its_pictures_to_himself(tiny_trial: Callable[..., Any]) -> None:
    """A run holds them, too; but on another machine there is the trial alone."""
    spec = tiny_trial()
    free: list[bool] = []

    def look(event: Event) -> None:
        with sole_use(spec.stored.folder) as is_free:
            free.append(is_free)

    assert trial.run(spec, look).status == "ok"
    assert len(free) > 3 and not any(free)
    with sole_use(spec.stored.folder) as is_free:
        assert is_free


def test_pictures_that_stay_on_the_disk_change_nothing_but_where_they_are(tiny_trial: Callable[..., Any]) -> None:
    settings = ("train.epochs=2", "augmentation.flip=true", "augmentation.crop=0.1")
    trials = [
        trial.run(replace(tiny_trial(*settings, seed=seed), seed=0, options=RunOptions(picture_memory=memory)))
        for seed, memory in enumerate((None, 0))
    ]
    memory, disk = trials
    assert memory.error is None and disk.error is None and memory.environment and disk.environment
    assert memory.environment["pictures"] == {"train": "memory", "val": "memory", "test": "memory"}
    assert disk.environment["pictures"] == {"train": "file", "val": "file", "test": "file"}
    assert disk.accuracy == memory.accuracy
    assert disk.training.history == memory.training.history  # type: ignore[union-attr]


def test_a_compiled_trial_trains_and_says_so(tiny_trial: Callable[..., TrialSpec]) -> None:
    """By torch.compile itself: a compiled module is no callable like any other (its truth is its length)."""
    spec = replace(tiny_trial("train.epochs=1", "train.limit=64", timed=True), options=RunOptions(compile=True))
    record = trial.run(spec)
    assert (record.status, record.error) == ("ok", None)
    assert record.environment is not None and record.environment["options"]["compile"]
    measured = record.to_json()["efficiency"]
    assert measured["errors"] is None
    assert measured["latency_ms"]["compile"] and measured["train_step"]["seconds"] > 0  # of the compiled model
    assert measured["memory"]["train_peak"] > 0


def test_an_operator_without_a_deterministic_kernel_is_named_in_the_record(
    tiny_trial: Callable[..., TrialSpec], tmp_path: Path
) -> None:
    (tmp_path / "puts").mkdir()
    (tmp_path / "puts" / "puts.py").write_text(PUTS)
    spec = tiny_trial("train.epochs=1", "train.limit=64", model="puts", plugins=tmp_path / "puts")
    try:
        refused = trial.run(replace(spec, options=RunOptions(deterministic=True)))
    finally:
        torch.use_deterministic_algorithms(False)
    assert refused.status == "error" and refused.error is not None
    assert "put_" in refused.error.message and "does not have a deterministic implementation" in refused.error.message
    assert trial.run(spec).status == "ok"

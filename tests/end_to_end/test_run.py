"""`python -m bench run`, as a user types it: on real pictures, with a model of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulted import Started

from bench.records.comparison import read_comparisons
from bench.records.quantities import BY_KEY
from bench.records.record import SCHEMA, read_record
from bench.report.judge.verdict import Verdicts

MINE = """
from bench import ModelSpec, hookimpl

def build(*, num_classes, image_size, pretrained, width=8):
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
                         nn.AdaptiveAvgPool2d(4), nn.Flatten())

@hookimpl
def bench_models():
    yield ModelSpec("mine", build, family="cnn", last_block="0")
"""

STUDY = """
name = "study"
description = "a study of one's own"
seeds = [0]
data = { dataset = "digits", image_size = 8, validation = 0.15, test_limit = 100 }
model = { weights = "scratch" }
optimizer = { name = "adam", learning_rate = 0.01 }
schedule = { name = "one-cycle" }
train = { what = "full", epochs = 2, batch_size = 32, precision = "fp32", limit = 100 }
"""

# Models that fail, each in its own way.
FAILING = """
import os, signal
from bench import ModelSpec, RequestError, hookimpl

def model(name, misbehave, **options):
    def build(*, num_classes, image_size, pretrained):
        import torch
        real = torch.empty(0).device.type != "meta"
        if name == "build_raises": raise ZeroDivisionError("no such luck")
        if name == "build_refuses" and real: raise RequestError("its weights are nowhere to be found")
        if name == "build_exits" and real: raise SystemExit(7)
        class Backbone(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(3 * image_size**2, 8)
            def forward(self, images):
                return misbehave(self, images, self.layer(images.flatten(1)), torch)
        return Backbone()
    return ModelSpec(name, build, "mlp", **options)

def raises(self, images, features, torch):
    raise ZeroDivisionError("one by nought")

def kills(self, images, features, torch):
    if images.device.type != "meta" and self.training:
        os.kill(os.getpid(), signal.SIGKILL)
    return features

def nan(self, images, features, torch):
    return features * float("nan") if self.training else features

def memory(self, images, features, torch):
    return torch.empty(2**55) if self.training else features

@hookimpl
def bench_models():
    yield model("forward_raises", raises)
    yield model("killed", kills)
    yield model("wrong_shape", lambda self, images, features, torch: images)
    yield model("not_a_number", nan)
    yield model("takes_all_memory", memory)
    for name in ("build_raises", "build_refuses", "build_exits"):
        yield model(name, lambda self, images, features, torch: features)
"""

INTERRUPTED = "interrupted; everything finished so far is kept: the same command goes on from there"

DESIGN = {
    "": "schema status error seed model protocol data environment accuracy training efficiency",
    "model": "name plugin family source options input_size params trainable_params weights",
    "protocol": "name fingerprint settings",
    "data": "name fingerprint classes train val test",
    "environment": "device device_kind torch timm cuda driver cpu threads git precision load",
    "accuracy": "val_top1 test_top1 test_top5 test_loss macro_f1 ece per_class confusion",
    "training": "epochs best_epoch stopped_early seconds epoch_seconds images_per_second seconds_to_best history",
    "efficiency": "macs flops macs_by_operator uncounted_operators macs_cross_check activations memory energy_joules",
}


@dataclass
class Place:
    """A folder that the command runs in, and how the command ended."""

    folder: Path
    done: subprocess.CompletedProcess[str]

    def record(self, model: str = "mine", results: str = "results/study") -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.trial(model, results) / "record.json").read_text())
        return document

    def trial(self, model: str = "mine", results: str = "results/study") -> Path:
        return self.folder / results / model / "seed0"

    def contents(self) -> dict[str, bytes]:
        """Every result file and what is in it."""
        files = (file for file in (self.folder / "results").rglob("*") if file.is_file())
        return {str(file): file.read_bytes() for file in files if file.name != ".lock"}


def prepared(folder: Path, **plugins: str) -> Path:
    """The folder with the study's protocol and these plugins."""
    (folder / "plugins").mkdir()
    for name, text in {"mine": MINE, **plugins}.items():
        (folder / "plugins" / f"{name}.py").write_text(text)
    (folder / "study.toml").write_text(STUDY)
    return folder


RUN = ("run", "--protocol", "study.toml", "--no-timing")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, bench: Callable[..., Any]) -> Place:
    """A fresh folder's first run."""
    folder = prepared(tmp_path_factory.mktemp("first"))
    return Place(folder, bench("run", "--protocol", "study.toml", "mine", in_folder=folder))


def test_a_run_ends_with_the_table_on_standard_output_and_progress_on_standard_error(first: Place) -> None:
    assert first.done.returncode == 0, first.done.stderr
    header, _, row, *rest = first.done.stdout.strip().splitlines()
    assert all(name in header for name in ("model", "test top-1 (%)", "params (", "MACs", "peak ", "/epoch", "total s"))
    assert row.startswith("mine")
    assert any("Best mean test top-1 first" in line for line in rest)
    progress = first.done.stderr.splitlines()
    assert progress[0].startswith("protocol study")
    assert any("mine epoch 2/2" in line and "loss" in line and "top-1" in line for line in progress)


def test_a_run_ends_with_timing_what_it_trained_side_by_side_and_measure_does_so_again(
    first: Place, bench: Callable[..., Any]
) -> None:
    assert [line for line in first.done.stderr.splitlines() if "side by side" in line] == [
        f"[{number}/3] 1 model side by side: {series}"
        for number, series in enumerate(("latency", "throughput", "step"), start=1)
    ]
    results = first.folder / "results"
    (protocol,) = [file.parent.parent for file in results.glob("*/timing/1.json")]
    page = (protocol / "README.md").read_text()
    assert "| latency (ms) |" in " ".join(page.split()) and "× latency" in page
    ((comparison,), _) = read_comparisons(results)
    once = Verdicts.of(comparison).on(BY_KEY["latency_ms"]).values[0]
    assert once is not None and len(once.values) == 1
    refused = bench("measure", "--of", "results", "--image-size", "8", in_folder=first.folder)
    assert refused.returncode == 2
    assert refused.stderr.strip() == "bench: --image-size: --of times models as they were trained; leave it out"
    again = bench("measure", "--of", "results", in_folder=first.folder)
    assert again.returncode == 0, again.stderr
    assert "over 2 sessions" in again.stdout and "mine" in again.stdout
    assert (protocol / "timing" / "2.json").exists()
    known = bench(*RUN[:-1], "mine", in_folder=first.folder)
    assert "side by side" not in known.stderr  # nothing new to time
    missing = bench("measure", "yours", "--of", "results", in_folder=first.folder)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


def test_a_record_has_the_keys_of_the_design(first: Place) -> None:
    record = first.record()
    for part, keys in DESIGN.items():
        assert set(keys.split()) <= set(record[part] if part else record), part
    assert (record["status"], record["error"], record["schema"]) == ("ok", None, SCHEMA)
    assert read_record(first.trial() / "record.json").to_json() == record


def test_a_record_agrees_with_itself(first: Place) -> None:
    record = first.record()
    training, history = record["training"], record["training"]["history"]
    assert training["epochs"] == 2 == len(training["epoch_seconds"]) == len(history["val_top1"])
    assert record["accuracy"]["val_top1"] == max(history["val_top1"]) == history["val_top1"][training["best_epoch"] - 1]
    assert 0 < training["seconds_to_best"] <= training["seconds"] <= record["seconds"]
    assert (record["data"]["train"], record["data"]["test"]) == (100, 100)
    assert record["data"]["classes"] == list("0123456789")
    assert record["model"]["params"] == record["model"]["trainable_params"] == 8 * 28 + 16 + 128 * 10 + 10
    by_operator = record["efficiency"]["macs_by_operator"]
    assert (by_operator["conv"], by_operator["linear"]) == (6 * 6 * 27 * 8, 128 * 10)
    assert record["efficiency"]["macs"] == sum(by_operator.values())
    assert record["efficiency"]["flops"] == 2 * record["efficiency"]["macs"]
    assert record["efficiency"]["memory"]["train_peak"] > 4 * record["model"]["params"]
    assert record["environment"]["precision"] == "fp32"


def test_the_predictions_are_those_that_the_accuracy_counts(first: Place) -> None:
    accuracy = first.record()["accuracy"]
    with np.load(first.trial() / "predictions.npz") as predictions:
        labels, probabilities = predictions["label"], predictions["probabilities"]
        assert len(predictions["index"]) == len(set(predictions["index"].tolist())) == 100
    predicted = probabilities.argmax(1)
    assert accuracy["test_top1"] == pytest.approx((predicted == labels).mean())
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    assert accuracy["confusion"] == confusion.tolist()
    assert accuracy["test_loss"] == pytest.approx(-np.log(probabilities[np.arange(100), labels]).mean(), rel=1e-3)


def test_the_results_folder_has_a_page_with_the_table(first: Place) -> None:
    page = (first.folder / "results" / "study" / "README.md").read_text()
    record = first.record()
    assert f"{100 * record['accuracy']['test_top1']:.2f}" in page
    assert "a study of one's own" in page
    assert record["protocol"]["fingerprint"][:12] in page
    assert record["data"]["fingerprint"][:12] in page


def test_a_finished_trial_leaves_its_files_and_no_checkpoint(first: Place) -> None:
    files = {file.name for file in first.trial().iterdir()}
    assert {"record.json", "predictions.npz", "pictures.npz", "log.txt", "events.out.tfevents.bench"} <= files
    assert not any("checkpoint" in file or file.startswith(".") for file in files)


def test_a_second_run_does_nothing_and_shows_the_same_table(first: Place, bench: Callable[..., Any]) -> None:
    before = first.contents()
    again = bench(*RUN, "mine", in_folder=first.folder)
    assert again.returncode == 0
    assert again.stdout == first.done.stdout
    assert "already recorded in results/study: 1 of 1 trials; --fresh runs them again" in again.stderr
    assert "epoch" not in again.stderr.replace("epochs", "")
    assert first.contents() == before


def test_a_fresh_run_is_the_same_to_the_last_digit_and_prints_one_json_document(
    first: Place, bench: Callable[..., Any]
) -> None:
    before = first.record()
    again = bench(*RUN, "mine", "--fresh", "--json", in_folder=first.folder)
    document = json.loads(again.stdout)
    assert document["records"] == [first.record()]
    assert (document["protocol"], document["results"]) == ("study", "results/study")
    assert "mine epoch 1/2" in again.stderr
    assert document["records"][0]["started"] >= before["started"]
    assert document["records"][0]["accuracy"] == before["accuracy"]
    assert document["records"][0]["training"]["history"] == before["training"]["history"]


def test_a_changed_protocol_of_the_same_name_does_not_touch_the_old_records(
    first: Place, bench: Callable[..., Any]
) -> None:
    before = first.contents()
    (first.folder / "changed.toml").write_text(STUDY.replace("epochs = 2", "epochs = 1"))
    changed = bench("run", "mine", "--protocol", "changed.toml", "--quiet", in_folder=first.folder)
    assert changed.returncode == 0
    assert changed.stderr == ""
    (apart,) = (folder for folder in (first.folder / "results").iterdir() if folder.name != "study")
    assert apart.name.startswith("study-")
    assert first.record(results=f"results/{apart.name}")["training"]["epochs"] == 1
    after = first.contents()
    assert {file: after[file] for file in before} == before


@pytest.fixture(scope="module")
def failing(first: Place, tmp_path_factory: pytest.TempPathFactory, bench: Callable[..., Any]) -> Place:
    """A run of models that fail and one that does not, beside a plugin that cannot be imported; the one that does
    not fail is among the published results already."""
    folder = prepared(tmp_path_factory.mktemp("failing"), failing=FAILING, broken="import nowhere_to_be_found")
    shutil.copytree(first.folder / "results" / "study", folder / "results" / "reference" / "study")
    names = ("forward_raises", "killed", "wrong_shape", "not_a_number", "takes_all_memory")
    return Place(folder, bench(*RUN, *names, "build_raises", "build_refuses", "build_exits", "mine", in_folder=folder))


STATUSES = {
    "forward_raises": ("error", "one by nought"),
    "killed": ("crashed", "SIGKILL"),
    "wrong_shape": ("error", "(1, 3, 8, 8)"),
    "not_a_number": ("diverged", "nan"),
    "takes_all_memory": ("oom", "allocate memory"),
    "build_raises": ("error", "no such luck"),
    "build_refuses": ("error", "its weights are nowhere to be found"),
    "build_exits": ("crashed", "exit status 7"),
}


@pytest.mark.parametrize("model", STATUSES)
def test_what_went_wrong_with_a_model_is_in_its_record(model: str, failing: Place) -> None:
    status, says = STATUSES[model]
    record = failing.record(model)
    assert record["status"] == status
    assert says in record["error"]["message"]
    assert "\n" not in record["error"]["message"]
    assert record["data"]["train"] == 100
    assert record["seconds"] > 0


def test_one_model_s_failure_does_not_stop_the_others(failing: Place) -> None:
    assert failing.done.returncode == 1, failing.done.stderr
    assert failing.record("mine")["status"] == "ok"
    assert "Traceback" not in failing.done.stderr


def test_every_failed_model_has_a_row_below_those_that_did_not_fail(failing: Place) -> None:
    page = (failing.folder / "results" / "study" / "README.md").read_text()
    rows = [line.strip("| ").split(" ")[0] for line in page.splitlines() if line.startswith("| ")]
    assert rows[0:2] == ["model", "mine"]
    assert set(rows[2:]) == set(STATUSES)
    assert all(name in failing.done.stdout for name in STATUSES)


def test_the_log_of_a_failed_trial_has_the_traceback(failing: Place) -> None:
    assert "ZeroDivisionError: one by nought" in (failing.trial("forward_raises") / "log.txt").read_text()


def test_a_plugin_that_cannot_be_imported_is_reported_and_left_out(failing: Place) -> None:
    assert "broken.py is left out: ModuleNotFoundError" in failing.done.stderr


def test_published_results_are_never_taken_for_one_s_own(failing: Place, first: Place) -> None:
    assert "mine epoch 2/2" in failing.done.stderr
    published = failing.folder / "results" / "reference" / "study" / "mine" / "seed0" / "record.json"
    theirs, own = read_record(published), read_record(failing.trial() / "record.json")
    assert theirs == read_record(first.trial() / "record.json")
    assert (theirs.protocol, theirs.model.code) == (own.protocol, own.model.code)


def test_a_model_that_kills_its_process_when_it_is_built_does_not_stop_the_others(
    tmp_path: Path, bench: Callable[..., Any]
) -> None:
    killer = MINE.replace('"mine"', '"killer"').replace("from torch import nn", "import os; os.kill(os.getpid(), 9)")
    folder = prepared(tmp_path, killer=killer)
    place = Place(folder, bench(*RUN, "killer", "mine", in_folder=folder))
    assert "Traceback" not in place.done.stderr
    assert place.done.returncode == 1
    assert place.record("killer")["status"] == "crashed"
    assert place.record("mine")["status"] == "ok"


# A model that waits in its fifth training step, which is in the third epoch, as long as there is a file `wait`.
SLOW = MINE.replace('"mine"', '"slow"').replace(
    "    return nn.Sequential(",
    """
    import pathlib, time
    class Waits(nn.Module):
        calls = 0
        def forward(self, images):
            self.calls += self.training
            while self.calls == 5 and (pathlib.Path(__file__).parent / "wait").exists():
                time.sleep(0.05)
            return images
    return nn.Sequential(Waits(), """,
)
# Two batches of 50 an epoch.
SLOWLY = ("--set", "train.epochs=4", "--set", "train.batch_size=50", "--set", "name=study")


def test_a_trial_that_takes_too_long_is_stopped(tmp_path: Path, bench: Callable[..., Any]) -> None:
    folder = prepared(tmp_path, slow=SLOW)
    (folder / "plugins" / "wait").touch()
    place = Place(folder, bench(*RUN, "slow", *SLOWLY, "--timeout", "4", in_folder=folder))
    assert place.done.returncode == 1
    record = place.record("slow")
    assert record["status"] == "timeout"
    assert "4 seconds" in record["error"]["message"]


def interrupt(folder: Path, *arguments: str, after: str) -> subprocess.CompletedProcess[str]:
    """Start the command, and press Ctrl-C once it has said `after`."""
    run = Started(folder, *arguments)
    run.until(after)
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    status, said = run.end()
    return subprocess.CompletedProcess(arguments, status, stderr=said)


def test_an_interrupted_run_is_gone_on_with_as_if_it_had_not_been(tmp_path: Path, bench: Callable[..., Any]) -> None:
    folder = prepared(tmp_path, slow=SLOW)
    (folder / "plugins" / "wait").touch()
    stopped = Place(folder, interrupt(folder, *RUN, "mine", "slow", *SLOWLY, after="slow epoch 2/4"))
    assert stopped.done.returncode == 130, stopped.done.stderr
    assert "Traceback" not in stopped.done.stderr
    assert stopped.done.stderr.splitlines()[-1] == INTERRUPTED
    assert stopped.record("mine")["status"] == "ok"
    assert stopped.record("slow")["status"] == "interrupted"

    (folder / "plugins" / "wait").unlink()
    resumed = Place(folder, bench(*RUN, "mine", "slow", *SLOWLY, in_folder=folder))
    assert resumed.done.returncode == 0
    epochs = [line for line in resumed.done.stderr.splitlines() if " epoch " in line]
    assert [line.split(":")[0].strip() for line in epochs] == ["slow epoch 3/4", "slow epoch 4/4"]
    after_both = resumed.record("slow")

    whole = Place(folder, bench(*RUN, "slow", *SLOWLY, "--fresh", in_folder=folder))
    assert whole.record("slow")["training"]["history"] == after_both["training"]["history"]
    assert whole.record("slow")["accuracy"] == after_both["accuracy"]


def test_a_run_on_the_real_pictures_of_cifar10_learns(
    cifar10_sample: Path, tmp_path: Path, bench: Callable[..., Any]
) -> None:
    folder = prepared(tmp_path)
    settings = ["data.image_size=32", "data.test_limit=0", "train.limit=0", "train.epochs=6", "name=photos"]
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    data = ("--data", f"folder:{cifar10_sample}")
    done = bench(*RUN, "mine", *data, *arguments, in_folder=folder, OMP_NUM_THREADS="2")
    record = Place(folder, done).record(results="results/photos")
    assert done.returncode == 0 and record["environment"]["threads"] == 2
    assert (record["data"]["train"], record["data"]["val"], record["data"]["test"]) == (850, 150, 200)
    assert record["data"]["name"] == f"folder:{cifar10_sample.name}"
    assert record["accuracy"]["test_top1"] > 0.16  # chance is 0.1, its deviation on 200 pictures 0.02


# As a machine with CUDA and without a network: the local executor, but for which protocol is the default.
WITH_CUDA = """
from bench import ExecutorSpec, hookimpl

def start():
    from bench.run.executors import work
    from bench.run.executors.local import Local

    class WithCuda(Local):
        def run(self, asked, **how):
            if asked.func is work.default_protocol:
                return "cifar10"
                yield
            return (yield from super().run(asked, **how))

    return WithCuda()

@hookimpl
def bench_executors():
    yield ExecutorSpec("with_cuda", start)
"""


def test_without_a_network_the_default_of_a_gpu_gives_way_to_quick_in_one_line(
    tmp_path: Path, bench: Callable[..., Any]
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "with_cuda.py").write_text(WITH_CUDA)
    (tmp_path / "plugins" / "mine.py").write_text(MINE)
    few = ("--set", "train.epochs=1", "--set", "train.limit=32", "--no-timing", "--executor", "with_cuda")
    done = bench("run", "vit_tiny", "mine", *few, in_folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "quick needs no network" in line]
    assert "its pretrained weights are not on this machine" in line and "runs in the place of cifar10" in line
    (record,) = tmp_path.glob("results/quick*/vit_tiny/seed0/record.json")
    assert json.loads(record.read_bytes())["status"] == "ok"

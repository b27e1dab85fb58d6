"""Pretrained weights on the road of a trial: checked before anything trains, named in the record."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from beside import BESIDE
from pretrained import LEARNER, protocol, weights

from bench.data.cache import Stored
from bench.errors import RequestError
from bench.events import Event
from bench.models.classifier import build_classifier
from bench.plugins import Registry
from bench.records.identity import Way
from bench.records.record import write_record
from bench.request import CheckRequest, Place, Ready, TrialSpec
from bench.run.check import check_models, prepare_data
from bench.run.plan import named_weights
from bench.run.sweep import recorded
from bench.run.trial import run as run_trial


def preflight(names: tuple[str, ...], plugins: Path, texts: tuple[str, ...], *overrides: str) -> Ready:
    events: list[Event] = []
    settings = ("train.limit=40", "data.test_limit=20", "train.epochs=1", "train.precision=fp32")
    asked = CheckRequest(
        names,
        protocol(*settings, *overrides),
        Place(device="cpu", plugins=(plugins,), working_directory=plugins),
        named_weights(texts, names),
    )
    checked = check_models(asked, events.append)
    weights = {name: one.weights for name, one in checked.items() if one.weights is not None}
    return replace(prepare_data(asked, events.append), weights=weights)


def test_what_is_wrong_with_weights_is_found_before_anything_trains(
    tiny_plugins: Path, hub: Path, vit_file: Path
) -> None:
    with pytest.raises(RequestError, match="give a file with --weights vit_tiny=FILE"):
        preflight(("vit_tiny",), tiny_plugins, ())
    with pytest.raises(RequestError, match="another architecture than densenet121"):
        preflight(("densenet121",), tiny_plugins, (f"densenet121={vit_file}",))
    with pytest.raises(RequestError, match="the protocol trains from scratch"):
        preflight(("vit_tiny",), tiny_plugins, (f"vit_tiny={vit_file}",), "model.weights=scratch")


def test_the_preflight_takes_a_plain_file_for_a_model_with_new_layers(
    tiny_plugins: Path, hub: Path, vit_file: Path
) -> None:
    ready = preflight((LEARNER,), tiny_plugins, (f"{LEARNER}={vit_file}",))
    assert ready.weights == {LEARNER: weights(vit_file)}
    with pytest.raises(RequestError, match=r"token_learner: after=99 is no"):
        preflight((f"{LEARNER}:after=99",), tiny_plugins, ())


def test_the_preflight_hands_each_model_its_file(tiny_plugins: Path, hub: Path, vit_file: Path) -> None:
    ready = preflight(("vit_tiny", "tiny"), tiny_plugins, (f"vit_tiny={vit_file}",))
    assert ready.weights == {"vit_tiny": weights(vit_file)}


def tiny_spec(folder: Path, plugins: Path, digits: Stored, file: Path) -> TrialSpec:
    settings = ("train.limit=40", "data.test_limit=20", "train.epochs=1", "data.image_size=8", "train.precision=fp32")
    own = protocol(*settings)
    return TrialSpec(
        "tiny",
        0,
        own,
        digits,
        folder,
        Place(device="cpu", plugins=(plugins,), working_directory=plugins),
        weights(file, through_timm=False),
    )


@pytest.mark.slow
def test_the_record_names_the_weights_and_stands_for_no_others(
    registry: Registry, tiny_plugins: Path, digits: Stored, tmp_path: Path
) -> None:
    files = [tmp_path / "one.pt", tmp_path / "other.pt"]
    for seed, file in enumerate(files):
        torch.manual_seed(seed)
        torch.save(build_classifier(registry.model("tiny"), protocol(), 10).backbone.state_dict(), file)
    one, other = (tiny_spec(tmp_path / "results", tiny_plugins, digits, file) for file in files)
    record = run_trial(one)
    assert record.status == "ok"
    assert record.model.weights is not None
    named = {key: record.model.weights[key] for key in ("source", "origin", "file", "sha256")}
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert named == {"source": "pretrained", "origin": "file", "file": "one.pt", "sha256": digest}

    def is_recorded(spec: TrialSpec) -> bool:
        found, _ = recorded(replace(spec, way=Way("cpu", torch.get_num_threads())), registry.model("tiny"))
        return found is not None

    assert is_recorded(one)
    assert not is_recorded(other)
    record.model.weights = None
    write_record(one.folder, record)
    assert not is_recorded(one)


@pytest.mark.slow
def test_weights_that_only_the_plugin_knows_are_named_by_their_tensors(
    registry: Registry, tiny_plugins: Path, digits: Stored, tmp_path: Path
) -> None:
    settings = ("train.limit=40", "data.test_limit=20", "train.epochs=1", "data.image_size=8", "train.precision=fp32")
    own = protocol(*settings)
    digests = []
    for seed in (0, 0, 1):  # `tiny` takes whatever weights the seed gives
        folder = tmp_path / str(len(digests))
        record = run_trial(
            TrialSpec(
                "tiny",
                seed,
                own,
                digits,
                folder,
                Place(device="cpu", plugins=(tiny_plugins,), working_directory=tmp_path),
                way=BESIDE,
            )
        )
        assert record.model.weights is not None and record.model.weights["origin"] == "plugin"
        digests.append(record.model.weights["sha256"])
    assert digests[0] == digests[1] != digests[2]


def test_listing_models_does_not_import_what_reads_weights() -> None:
    import subprocess

    code = "import bench.cli, bench.run.sweep, sys; print('torch' in sys.modules, 'safetensors' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

"""A kept model is the one that the trial evaluated, wherever it came from; what is damaged is refused in one line."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from beside import BESIDE

import bench
from bench.data.batches import Batches
from bench.data.cache import Stored
from bench.data.splits import subsets
from bench.device import Device
from bench.errors import RequestError
from bench.files import trial_folder
from bench.models.classifier import build_classifier, preparation
from bench.models.kept import KeptModel, read_description, write_model
from bench.models.weights.load import file_digest
from bench.plugins import Registry
from bench.protocol import Protocol, load_protocol
from bench.request import Place, RunOptions, TrialSpec, Weights
from bench.run import trial
from bench.train.loop import evaluate

HIDDEN = ("head.hidden=[16,12]", "head.dropout=0.5", "train.what=last-block", "train.epochs=2")


@dataclass(frozen=True)
class Kept:
    """A trial that was run, and the folder that it left."""

    spec: TrialSpec

    @property
    def folder(self) -> Path:
        return self.spec.folder

    @property
    def plugins(self) -> tuple[Path, ...]:
        return self.spec.place.plugins


@pytest.fixture(scope="module")
def ran(
    tiny_plugins: Path,
    digits: Stored,
    tiny_protocol: Callable[..., Protocol],
    tmp_path_factory: pytest.TempPathFactory,
) -> TrialSpec:
    """A plugin's own model with an option, trained in part, under a head with hidden layers."""
    folder = tmp_path_factory.mktemp("ran")
    name, protocol = "tiny:dropout=0.1,width=4", tiny_protocol(*HIDDEN)
    place = Place(device="cpu", plugins=(tiny_plugins,), working_directory=folder)
    spec = TrialSpec(name, 3, protocol, digits, trial_folder(folder, name, 3), place, way=BESIDE)
    assert trial.run(spec).error is None
    return spec


@pytest.fixture
def kept(ran: TrialSpec, tmp_path: Path) -> Kept:
    """What that trial left, in a folder that may be damaged."""
    copy = tmp_path / "results" / "seed3"
    shutil.copytree(ran.folder, copy)
    return Kept(replace(ran, folder=copy))


def test_a_kept_model_predicts_what_its_trial_did_bit_for_bit(kept: Kept) -> None:
    classifier = Device("cpu").place(bench.load_model(kept.folder, kept.plugins))
    assert not any(module.training for module in classifier.modules())
    described = read_description(kept.folder)
    subset = subsets(kept.spec.stored, kept.spec.protocol)["test"]
    batch_size = kept.spec.protocol.train.batch_size
    batches = Batches(kept.spec.stored, subset, described.preparation, batch_size, Device("cpu"))
    with np.load(kept.folder / "predictions.npz") as predictions:
        again = evaluate(classifier, batches, "fp32", Device("cpu")).probabilities.numpy()
        assert np.array_equal(again, predictions["probabilities"])


def test_its_description_says_what_it_takes_to_build_and_to_use_it(kept: Kept, registry: Registry) -> None:
    described = read_description(kept.folder)
    own = kept.spec.protocol
    assert (described.name, described.plugin) == ("tiny:dropout=0.1,width=4", "tiny_model")
    assert described.code == registry.model("tiny").plugin.code
    assert described.options == {"dropout": 0.1, "width": 4}
    assert described.classes == tuple(kept.spec.stored.classes)
    assert described.head == own.head
    assert (described.protocol, described.fingerprint) == (own.name, own.fingerprint)
    assert described.image_size == 8 and len(described.mean) == len(described.std) == 3
    assert described.versions["torch"] and described.versions["timm"]
    assert json.loads((kept.folder / "model.json").read_text())["schema"] == 1


def test_it_is_written_over_whole_and_leaves_nothing_beside(kept: Kept, registry: Registry) -> None:
    model = registry.model(kept.spec.model)
    torch.manual_seed(9)
    other = build_classifier(model, kept.spec.protocol, 10)
    prepare = preparation(other.backbone, 8)
    before = {file.name for file in kept.folder.iterdir()}
    write_model(kept.folder, other, KeptModel.of(model, kept.spec.protocol, kept.spec.stored.classes, prepare))
    loaded = bench.load_model(kept.folder, kept.plugins).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in other.state_dict().items())
    assert {file.name for file in kept.folder.iterdir()} == before


@pytest.mark.slow
def test_nothing_is_kept_where_the_run_is_told_so(ran: TrialSpec, tmp_path: Path) -> None:
    spec = replace(ran, folder=tmp_path / "trial", options=RunOptions(keep_weights=False))
    assert trial.run(spec).error is None
    assert not [file for file in spec.folder.iterdir() if file.name.startswith("model.")]


def _cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def _edit(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        described = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(described | changes))

    return edit


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing is there": (shutil.rmtree, r"holds no kept model: model\.json: No such file"),
    "its tensors are missing": (lambda folder: (folder / "model.safetensors").unlink(), "no such file"),
    "its tensors are cut short": (_cut, "is cut short"),
    "its tensors are others": (_flip_a_bit, r"is damaged, or not of the model that model\.json describes"),
    "its description is no JSON": (lambda folder: (folder / "model.json").write_text("{"), "describes no kept model"),
    "its description lacks something": (
        lambda folder: (folder / "model.json").write_text('{"name": "tiny"}'),
        r"model\.json: describes no kept model: plugin: Field required",
    ),
    "a newer bench wrote it": (_edit(schema=2), r"schema 2 is newer than this bench's \(1\): update bench"),
    "no plugin has the model": (_edit(name="tinny"), "unknown model 'tinny': did you mean tiny"),
    "it had another head": (_edit(head={"hidden": [7]}), r"is another network now: head\.0\.weight does not fit$"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_it_is_refused_in_one_line_where(why: str, kept: Kept) -> None:
    damage, says = REFUSED[why]
    damage(kept.folder)
    with pytest.raises(RequestError, match=says) as refused:
        bench.load_model(kept.folder, kept.plugins)
    assert "\n" not in str(refused.value)


def changed_plugin(folder: Path, kept: Kept, old: str, new: str) -> Path:
    folder.mkdir()
    source = (kept.plugins[0] / "tiny_model.py").read_text()
    assert old in source
    (folder / "tiny_model.py").write_text(source.replace(old, new))
    return folder


def test_a_plugin_that_has_changed_is_named_and_builds_what_still_fits(kept: Kept, tmp_path: Path) -> None:
    plugins = changed_plugin(tmp_path / "new", kept, "milliseconds", "no time")
    with pytest.warns(UserWarning, match=r"tiny:.* fits; its plugin tiny_model has changed since$"):
        bench.load_model(kept.folder, [plugins])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.load_model(kept.folder, kept.plugins)


def test_a_plugin_that_builds_another_network_by_now_is_refused(kept: Kept, tmp_path: Path) -> None:
    plugins = changed_plugin(tmp_path / "new", kept, "block(width, 2 * width)", "block(width, 3 * width)")
    says = r"another network now: backbone\.block\.0\.weight does not fit; its plugin tiny_model has changed since$"
    with pytest.raises(RequestError, match=says):
        bench.load_model(kept.folder, [plugins])


# A kept model as the weights that another trial starts from.


def started_from(kept: Kept, registry: Registry, name: str, *overrides: str, through_timm: bool) -> dict[str, object]:
    """The state of that model's backbone as it starts from the kept file."""
    file = kept.folder / "model.safetensors"
    pretrained = load_protocol("quick", ["data.image_size=32", *overrides, "model.weights=pretrained"])
    weights = Weights(file, file_digest(file), "file", through_timm)
    return dict(build_classifier(registry.model(name), pretrained, 10, weights).backbone.state_dict())


def test_a_plugins_own_model_starts_from_its_kept_backbone_whatever_its_head(kept: Kept, registry: Registry) -> None:
    own = started_from(kept, registry, "tiny:width=4", through_timm=False)
    trained = bench.load_model(kept.folder, kept.plugins).backbone.state_dict()
    assert own.keys() == trained.keys()
    assert all(torch.equal(own[name], trained[name]) for name in trained)
    with pytest.raises(RequestError, match="another architecture than tiny:width=5"):
        started_from(kept, registry, "tiny:width=5", through_timm=False)


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny:patch_size=8",
        "vgg19",
        "vit_tiny:patch_size=8+token_learner",
        "vit_tiny:patch_size=8+token_merging:r=2",
        "fdvit_ti",
    ],
)
def test_a_kept_model_of_timms_is_loaded_and_started_from(
    name: str, kept: Kept, registry: Registry, tmp_path: Path
) -> None:
    model, own = registry.model(name), load_protocol("quick", ["data.image_size=32", "head.hidden=[8]"])
    torch.manual_seed(5)
    classifier = build_classifier(model, own, 10)
    described = KeptModel.of(model, own, kept.spec.stored.classes, preparation(classifier.backbone, 32))
    there = Kept(replace(kept.spec, model=name, folder=tmp_path / "timm"))
    write_model(there.folder, classifier, described)
    state = classifier.state_dict()
    loaded = bench.load_model(there.folder).state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in state.items())
    started = started_from(there, registry, name, through_timm=True)
    assert all(torch.equal(tensor, state[f"backbone.{key}"]) for key, tensor in started.items())


def test_a_kept_vit_is_resampled_for_another_image_size(kept: Kept, registry: Registry, tmp_path: Path) -> None:
    model, own = registry.model("vit_tiny"), load_protocol("quick", ["data.image_size=32", "model.options={}"])
    classifier = build_classifier(model, own, 10)
    there = Kept(replace(kept.spec, model="vit_tiny", folder=tmp_path / "timm"))
    described = KeptModel.of(model, own, kept.spec.stored.classes, preparation(classifier.backbone, 32))
    write_model(there.folder, classifier, described)
    started = started_from(there, registry, "vit_tiny", "data.image_size=64", "model.options={}", through_timm=True)
    assert started["pos_embed"].shape == (1, 17, 192)  # type: ignore[attr-defined]

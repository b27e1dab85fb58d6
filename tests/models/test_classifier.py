"""A model is the plugin's backbone with the protocol's head, built for the protocol's image size."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench import ModelSpec, RequestError
from bench.models.classifier import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Classifier,
    build_classifier,
    build_head,
    build_weightless,
    preparation,
)
from bench.plugins import Model, Plugin, Registry
from bench.protocol import Head, Protocol, load_protocol


def asked(build: Callable[..., nn.Module], **options: Any) -> Model:
    return Model("mine", ModelSpec("mine", build, "cnn"), options, Plugin("mine", "here", ""))


def module(forward: Callable[[torch.Tensor], Any]) -> Callable[..., nn.Module]:
    """A `build` whose backbone does that."""

    class Backbone(nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            return forward(images)

    return lambda **_: Backbone()


def test_a_model_maps_images_to_the_logits_of_the_classes(registry: Registry, tiny_protocol: Any) -> None:
    classifier = build_classifier(registry.model("tiny"), tiny_protocol(), classes=7)
    assert classifier(torch.zeros(2, 3, 8, 8)).shape == (2, 7)


def test_the_head_is_as_the_protocol_says() -> None:
    head = build_head(20, Head(hidden=(16, 8), dropout=0.5), classes=3)
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [(layer.in_features, layer.out_features) for layer in head if isinstance(layer, nn.Linear)] == [
        (20, 16),
        (16, 8),
        (8, 3),
    ]
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert [type(layer).__name__ for layer in build_head(20, Head(), classes=3)] == ["Linear"]


def test_a_backbone_is_told_what_it_is_built_for(tiny_protocol: Callable[..., Protocol]) -> None:
    told: dict[str, Any] = {}

    def build(*, patch_size: int = 16, depth: int = 1, **given: Any) -> nn.Module:
        told.update(given, patch_size=patch_size, depth=depth)
        return nn.Flatten()

    protocol = tiny_protocol("model.weights=pretrained", "model.options={patch_size=4,width=3}")
    build_classifier(asked(build, depth=2), protocol, classes=7)
    assert told == {"num_classes": 7, "image_size": 8, "pretrained": True, "patch_size": 4, "depth": 2}


@pytest.mark.parametrize(
    ("forward", "got"),
    [
        (lambda images: images, r"\(1, 3, 8, 8\)"),
        (lambda images: images.mean(), r"\(\)"),
        (lambda images: (images.flatten(1), images), "tuple"),
        (lambda images: None, "NoneType"),
    ],
)
def test_a_backbone_that_gives_no_features_is_told_what_it_gave(
    forward: Callable[[torch.Tensor], Any], got: str, tiny_protocol: Callable[..., Protocol]
) -> None:
    with pytest.raises(TypeError, match=rf"mine: build must return .* \(N, D\); this one gives {got}"):
        build_classifier(asked(module(forward)), tiny_protocol(), classes=2)


def test_finding_the_features_leaves_the_backbone_as_it_was(registry: Registry, tiny_protocol: Any) -> None:
    torch.manual_seed(0)
    classifier = build_classifier(registry.model("tiny"), tiny_protocol(), classes=7)
    assert all(part.training for part in classifier.modules())
    means = [part.running_mean for part in classifier.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(mean is not None and (mean == 0).all() for mean in means)
    assert len(means) == 2


@pytest.mark.parametrize(("size", "patch"), [(32, 5), (36, 8), (8, 16)])
def test_an_image_size_that_the_patches_do_not_divide_is_refused_and_says_which_would_do(
    size: int, patch: int, registry: Registry
) -> None:
    protocol = load_protocol("quick", [f"data.image_size={size}", "model.options={}"])
    with torch.device("meta"), pytest.raises(RequestError) as refused:
        build_classifier(registry.model(f"vit_tiny:patch_size={patch}"), protocol, classes=10)
    said = str(refused.value)
    assert f"image size {size} is not a multiple of its patch size {patch}" in said
    advised = int(said.partition("--set data.image_size=")[2].split()[0])
    assert advised % patch == 0
    assert advised >= size


def test_normalisation_is_that_of_the_pretrained_weights_else_imagenet_s() -> None:
    class Backbone(nn.Module):
        pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}  # noqa: RUF012

    assert preparation(Backbone(), 32).mean == (0.5, 0.5, 0.5)
    assert preparation(Backbone(), 32).std == (0.25, 0.25, 0.25)
    assert preparation(nn.Identity(), 32).mean == IMAGENET_MEAN
    assert preparation(nn.Identity(), 32).std == IMAGENET_STD


def test_a_backbone_may_add_a_loss_term_of_its_own() -> None:
    class Backbone(nn.Module):
        def training_loss(self) -> torch.Tensor:
            return torch.tensor(2.0)

    assert Classifier(Backbone(), nn.Identity()).training_loss() == 2
    assert Classifier(nn.Identity(), nn.Identity()).training_loss() is None


def test_any_timm_model_is_built_for_the_protocol_s_image_size(registry: Registry) -> None:
    protocol = load_protocol("quick", ["data.image_size=64", "model.options={}"])
    with torch.device("meta"):
        for name in ("timm/resnet18", "timm/vit_tiny_patch16_224"):
            logits = build_classifier(registry.model(name), protocol, 10)(torch.zeros(1, 3, 64, 64))
            assert logits.shape == (1, 10)


def test_a_timm_model_that_does_not_exist_is_answered_with_the_nearest_names(registry: Registry) -> None:
    with pytest.raises(RequestError, match=r"unknown timm model 'resnet1': did you mean resnet1"):
        build_classifier(registry.model("timm/resnet1"), load_protocol("quick"), 10)


def test_an_option_that_the_timm_model_does_not_have_is_refused(registry: Registry) -> None:
    with torch.device("meta"), pytest.raises(RequestError, match=r"timm/resnet18 has no option 'colour'"):
        build_classifier(registry.model("timm/resnet18:colour=red"), load_protocol("quick"), 10)


def test_features_are_found_on_whatever_device_the_backbone_was_built(registry: Registry) -> None:
    with torch.device("meta"):
        classifier = build_classifier(registry.model("tiny"), load_protocol("quick"), 10)
    assert isinstance(classifier.head[-1], nn.Linear)
    assert SimpleNamespace(**vars(classifier.head[-1])).in_features == 16 * 4 * 4


def test_the_head_computes_in_float32_whatever_autocast_says() -> None:
    """In bfloat16 one picture in a hundred has two best classes, and their order would decide."""
    torch.manual_seed(0)
    head, features = build_head(64, Head(hidden=(32,)), classes=10).eval(), torch.randn(4000, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(features.bfloat16())
        twice = torch.nn.functional.linear(features, head[0].weight)
    assert (logits.dtype, twice.dtype) == (torch.float32, torch.bfloat16)
    best, second = logits.topk(2).values.unbind(1)
    assert int((best == second).sum()) == 0
    best, second = logits.bfloat16().topk(2).values.unbind(1)
    assert int((best == second).sum()) > 10
    assert head.state_dict().keys() == {"0.weight", "0.bias", "3.weight", "3.bias"}


@pytest.mark.parametrize(
    ("name", "takes"), [("timm/vit_tiny_patch16_224", True), ("timm/resnet18", False), ("timm/repvgg_a0", False)]
)
def test_the_protocol_s_options_reach_timm_s_models_that_take_them(name: str, takes: bool, registry: Registry) -> None:
    protocol = load_protocol("quick", ["data.image_size=32", "model.options={patch_size=8}"])
    classifier = build_weightless(registry.model(name), protocol, 10)
    assert getattr(classifier.backbone, "resolved_options", {}) == ({"patch_size": 8} if takes else {})
    if takes:
        assert classifier.backbone.patch_embed.patch_size == (8, 8)  # type: ignore[union-attr]


def test_a_typed_option_comes_before_the_protocol_s_and_must_be_one(registry: Registry) -> None:
    protocol = load_protocol("quick", ["data.image_size=32", "model.options={patch_size=8}"])
    typed = build_weightless(registry.model("timm/vit_tiny_patch16_224:patch_size=4"), protocol, 10)
    assert typed.backbone.patch_embed.patch_size == (4, 4)  # type: ignore[union-attr]
    with pytest.raises(RequestError, match="timm/resnet18 has no option 'patch_size'"):
        build_weightless(registry.model("timm/resnet18:patch_size=8"), protocol, 10)


DROPPED = [
    "vit_tiny",
    "deit_tiny_distilled",
    "fdvit_ti",
    "efficientnet_lite0",
    "timm/pit_ti_224",
    "vit_tiny+token_merging",
]


@pytest.mark.parametrize("name", DROPPED)
def test_stochastic_depth_reaches_the_models_that_have_it_and_rises_with_depth(name: str, registry: Registry) -> None:
    protocol = load_protocol("quick", ["model.options={drop_path_rate=0.2}"])
    built = build_weightless(registry.model(name), protocol, 10)
    rates = [module.drop_prob for module in built.modules() if type(module).__name__ == "DropPath"]
    assert rates == sorted(rates) and 0 < rates[0] < rates[-1] <= 0.201
    without = build_weightless(registry.model(name), load_protocol("quick"), 10)
    assert {module.drop_prob for module in without.modules() if type(module).__name__ == "DropPath"} <= {0}


@pytest.mark.parametrize("rate", ["1", "-0.1", "true", "some"])
def test_a_rate_of_stochastic_depth_with_which_nothing_trains_is_refused(rate: str, registry: Registry) -> None:
    with pytest.raises(RequestError, match=f"drop_path_rate={rate.capitalize() if rate == 'true' else rate} must be"):
        build_weightless(registry.model(f"vit_tiny:drop_path_rate={rate}"), load_protocol("quick"), 10)

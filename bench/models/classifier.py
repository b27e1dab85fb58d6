"""A model ready for a trial: the plugin's backbone with the protocol's head."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from bench import protocol as protocols
from bench.data.batches import Preparation
from bench.errors import NoSuchOptionError, RequestError
from bench.models.extensions import Extended, extend, features_of, resolved_options
from bench.models.weights.load import build_with_weights
from bench.plugins import Model
from bench.request import Weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Head(nn.Sequential):
    """The layers behind the backbone's features (N, D), in float32 whatever autocast makes of the rest.

    In bfloat16 the two best of ten logits are equal for one picture in a hundred, and the order of the classes would
    decide.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        kind = features.device.type
        off = torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
        with off:
            logits: torch.Tensor = super().forward(features.float())  # type: ignore[no-untyped-call]
        return logits


class Classifier(nn.Module):
    """Images (N, 3, S, S) → the backbone's features (N, D) → the head's logits (N, classes).

    `new_layers` as in ModelSpec: which of the backbone's modules have no pretrained weights; what extensions added is
    among them. `extension_options`: what each extension made of options that leave something open.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        new_layers: tuple[str, ...] = (),
        extension_options: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.new_layers = new_layers
        self.extension_options = extension_options

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits

    def training_loss(self) -> torch.Tensor | None:
        """The backbone's own loss term of its latest forward pass, if it has one."""
        term = getattr(self.backbone, "training_loss", None)
        return term() if callable(term) else None


def build_classifier(
    model: Model, protocol: protocols.Protocol, classes: int, weights: Weights | None = None
) -> Classifier:
    """Build the model's backbone as the protocol wants it, and put the protocol's head on it; as `assembled`."""
    options = dict(protocol.model.options)
    pretrained = protocol.model.weights == "pretrained"
    return assembled(model, protocol.data.image_size, classes, options, protocol.head, pretrained, weights)


def assembled(
    model: Model,
    image_size: int,
    classes: int,
    options: dict[str, Any],
    head: protocols.Head,
    pretrained: bool = False,
    weights: Weights | None = None,
) -> Classifier:
    """The model's backbone, with `options` for those of them that it has, under that head.

    With `weights`, the backbone takes them; else, `pretrained`, the plugin alone sees to it that it is.

    Raises RequestError where the model or an extension of it cannot take the image size or one of its options,
    TypeError where the backbone does not give features (N, D).
    """
    built = build_backbone(model, image_size, classes, options, pretrained, weights)
    features = features_of(model.name, built.backbone, image_size)
    new_layers = (*model.spec.new_layers, *built.added)
    return Classifier(built.backbone, build_head(features, head, classes), new_layers, built.resolved_options)


def build_weightless(model: Model, protocol: protocols.Protocol, classes: int) -> Classifier:
    """The same classifier with shapes only: nothing is downloaded, and no memory is taken (device `meta`)."""
    scratch = protocol.model.model_copy(update={"weights": "scratch"})
    with torch.device("meta"):
        return build_classifier(model, protocol.model_copy(update={"model": scratch}), classes)


def build_backbone(
    model: Model,
    image_size: int,
    classes: int,
    defaults: dict[str, Any],
    pretrained: bool,
    weights: Weights | None = None,
) -> Extended:
    """Build what the plugin gives, with its options, and `defaults` for those of them that it has; and extend it.

    With `weights`, it has those; `pretrained` alone leaves it to the plugin to get some. Raises RequestError where
    the model or an extension cannot take the image size, one of its options, or the weights.
    """
    options, offered = model.options_under(defaults), model.offered(defaults)
    _check_drop_path(model.base, offered | options)

    def built_base(*, pretrained: bool) -> nn.Module:
        """With as many of the offered options as it has, which are then said to be resolved."""
        given = dict(num_classes=classes, image_size=image_size, pretrained=pretrained, **options)
        while True:
            try:
                backbone: nn.Module = model.spec.build(**given, **offered)
                break
            except NoSuchOptionError as error:
                if error.option not in offered:
                    raise
                del offered[error.option]
        named = inspect.signature(type(backbone).__init__).parameters  # others were swallowed by a **kwargs
        if taken := {key: value for key, value in offered.items() if key in named}:
            backbone.resolved_options = resolved_options(backbone) | taken  # type: ignore[assignment]
        return backbone

    def extended(*, pretrained: bool) -> Extended:
        backbone = built_base(pretrained=pretrained)
        check_image_size(model.base, backbone, image_size)
        return extend(backbone, model, image_size)

    if weights is None:
        return extended(pretrained=pretrained)
    built: list[Extended] = []

    def remembered(*, pretrained: bool) -> nn.Module:
        built.append(extended(pretrained=pretrained))
        return built[-1].backbone

    with torch.device("meta"):
        added = extended(pretrained=False).added if model.extensions else ()
    build_with_weights(remembered, weights, model.name, (*model.spec.new_layers, *added))
    return built[-1]


def _check_drop_path(name: str, options: dict[str, Any]) -> None:
    """Raise RequestError for a rate of stochastic depth with which no model would train; timm takes any."""
    rate = options.get("drop_path_rate", 0.0)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise RequestError(f"{name}: drop_path_rate={rate} must be a number from 0 to below 1")


def check_image_size(name: str, backbone: nn.Module, image_size: int) -> None:
    """Raise RequestError where the backbone cuts patches that do not divide the image size."""
    patches = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if patches is None:
        return
    patch = max(patches) if isinstance(patches, tuple) else int(patches)
    if image_size % patch:
        fits = [size for size in (image_size // patch * patch, (image_size // patch + 1) * patch) if size]
        raise RequestError(
            f"{name}: image size {image_size} is not a multiple of its patch size {patch}; "
            f"use --set data.image_size={fits[-1]} (measure: --image-size) or an option patch_size that divides it"
        )


def build_head(features: int, head: protocols.Head, classes: int) -> Head:
    """features → hidden layers, each with ReLU and dropout → classes."""
    layers: list[nn.Module] = []
    for width in head.hidden:
        layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(head.dropout)]
        features = width
    return Head(*layers, nn.Linear(features, classes))


def preparation(backbone: nn.Module, image_size: int, resize: str = "crop") -> Preparation:
    """Normalisation as the model's pretrained weights expect it; ImageNet's where the model says nothing."""
    configuration = getattr(backbone, "pretrained_cfg", None) or {}
    mean = tuple(configuration.get("mean", IMAGENET_MEAN))
    std = tuple(configuration.get("std", IMAGENET_STD))
    return Preparation(image_size, mean, std, resize)

"""Splits a model where its frozen part ends: one half gives the same features every epoch, the other trains on them.

bench/train/prefix/cut.py finds the halves of any model that torch.fx can trace; a plugin may give them itself
(`ModelSpec.split`). Both halves share the model's own layers.

Each split is tried on pictures before it is used: it must compute what the whole model computes, and
each picture's features must be its own, whatever other pictures are in its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from bench.device import exact_float32
from bench.models.classifier import Classifier
from bench.train.prefix.cut import CannotSplitError, Features, halves

# The halves compute what the whole does in the same order, so they agree to rounding; relative to the largest value.
TOLERANCE = 1e-4


# As ModelSpec.split.
Splitter = Callable[[nn.Module], tuple[nn.Module, nn.Module]]


@dataclass(frozen=True)
class Split:
    """The two halves: `prefix(images)` gives features (N, …), `rest(*features)` the logits.

    `at` names the layers whose outputs the features are, `found_by` who found them: torch.fx or the plugin.
    """

    prefix: Callable[[torch.Tensor], Features]
    rest: Callable[..., torch.Tensor]
    at: list[str]
    found_by: str


def split_model(model: Classifier, image_size: int, by_hand: Splitter | None = None) -> Split:
    """Split the model, some of whose parameters are frozen, at the end of its frozen prefix.

    Raises CannotSplitError.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        raise CannotSplitError("everything trains")
    if callable(getattr(model.backbone, "training_loss", None)):
        raise CannotSplitError("its own loss term needs the whole forward pass")
    place = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, image_size, image_size, generator=generator).to(place)
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), exact_float32():  # the two ways are to agree to rounding
            found = _split_by_hand(model, by_hand) if by_hand is not None else Split(*halves(model, images), "torch.fx")
            model.eval()
            _check(model, found, images)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return found


def _split_by_hand(model: Classifier, by_hand: Splitter) -> Split:
    first, second = by_hand(model.backbone)
    if any(parameter.requires_grad for parameter in first.parameters()):
        raise CannotSplitError("the first half of the plugin's split has layers that train")

    def prefix(images: torch.Tensor) -> Features:
        features = first(images)
        return features if isinstance(features, tuple) else (features,)

    def rest(*features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model.head(second(features if len(features) > 1 else features[0]))
        return logits

    return Split(prefix, rest, [], "plugin")


def _check(model: Classifier, found: Split, images: torch.Tensor) -> None:
    """Raise CannotSplitError unless the halves, in evaluation mode, compute what the whole model does."""
    features = found.prefix(images)
    if not _agree(found.rest(*[feature.clone() for feature in features]), model(images)):
        raise CannotSplitError("its halves do not compute what the whole does")
    order = torch.tensor([2, 0, 1], device=images.device)
    for feature, again in zip(features, found.prefix(images[order]), strict=True):
        if not _agree(feature[order], again):
            raise CannotSplitError("a picture's features depend on the others in its batch")


def _agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    scale = other.abs().max().clamp_min(1e-30)
    return one.shape == other.shape and bool((one - other).abs().max() <= TOLERANCE * scale)

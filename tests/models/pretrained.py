"""What the tests of pretrained weights share: a protocol that asks for them, and a backbone built from a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from bench.models.classifier import build_classifier
from bench.models.weights.load import file_digest
from bench.plugins import Registry
from bench.protocol import Protocol, load_protocol
from bench.request import Weights

PRETRAINED = ("model.weights=pretrained", "train.what=last-block", "model.options={}", "data.image_size=32")

LEARNER = "vit_tiny:patch_size=8+token_learner"


def weights(file: Path, through_timm: bool = True) -> Weights:
    return Weights(file, file_digest(file), "file", through_timm)


def protocol(*overrides: str) -> Protocol:
    return load_protocol("quick", [*PRETRAINED, *overrides])


def backbone(registry: Registry, name: str, file: Path, *overrides: str) -> nn.Module:
    return build_classifier(registry.model(name), protocol(*overrides), 10, weights(file)).backbone

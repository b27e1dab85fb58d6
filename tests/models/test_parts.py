"""What trains is exactly what the protocol says; what is frozen does not change by one bit."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from bench.cli import app
from bench.data.batches import Batches
from bench.data.cache import Stored
from bench.data.splits import subsets
from bench.device import Device
from bench.errors import RequestError
from bench.models.classifier import Classifier, build_classifier, build_weightless, preparation
from bench.models.freezing import freeze, train_mode
from bench.models.parts import layers, parameter_counts
from bench.plugins import Registry
from bench.protocol import Protocol, load_protocol
from bench.train.loop import make_trainer, train_epoch

PUBLISHED = {"vgg19": 9_638_922, "densenet201": 7_542_538, "deit_base_distilled": 7_354_634}


def frozen(registry: Registry, name: str, protocol: Protocol) -> Classifier:
    model = registry.model(name)
    classifier = build_weightless(model, protocol, 10)
    freeze(classifier, protocol.train.what, model.last_block, model.name)
    return classifier


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_many_parameters_train_as_published(registry: Registry, name: str) -> None:
    assert parameter_counts(frozen(registry, name, load_protocol("cifar10")))[1] == PUBLISHED[name]


def test_the_published_counts_are_those_of_the_references(tmp_path: Path) -> None:
    file = Path(__file__).parents[3] / "shared" / "refs" / "published.toml"
    if not file.is_file():
        pytest.skip(f"no {file}")
    notebook = tomllib.loads(file.read_text())["notebook"]
    assert {name: notebook[f"trainable_{name}"] for name in PUBLISHED} == PUBLISHED


def test_layers_cover_all_parameters_once(registry: Registry) -> None:
    classifier = frozen(registry, "deit_tiny_distilled", load_protocol("cifar10"))
    found = list(layers(classifier))
    assert parameter_counts(classifier) == (
        sum(one.parameters for one in found),
        sum(one.parameters for one in found if one.trains),
    )
    states = {one.name: one.trains for one in found}
    assert not any(states[name] for name in ("backbone.cls_token", "backbone.patch_embed", "backbone.blocks.10"))
    assert all(states[name] for name in ("backbone.blocks.11", "backbone.norm", "head.0", "head.6"))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_models_trainable_prints_what_trains(name: str) -> None:
    shown = CliRunner().invoke(app, ["models", "--trainable", name])
    assert shown.exit_code == 0
    assert f"last-block: {PUBLISHED[name]:,} of" in shown.stdout
    lines = shown.stdout.splitlines()
    assert any(line.startswith("backbone.") and line.endswith("frozen") for line in lines)
    assert any(line.startswith("head.0 ") and line.endswith("trained") for line in lines)


def test_models_trainable_obeys_the_protocol_and_gives_json() -> None:
    shown = CliRunner().invoke(app, ["models", "--trainable", "vit_tiny", "--protocol", "quick", "--json"])
    document = json.loads(shown.stdout)
    assert (document["model"], document["what"]) == ("vit_tiny", "full")
    assert document["parameters"] == document["trainable_parameters"]
    head = CliRunner().invoke(
        app, ["models", "--trainable", "vit_tiny", "--set", "train.what=head", "--classes", "7", "--json"]
    )
    assert json.loads(head.stdout)["trainable_parameters"] == 192 * 256 + 256 + 256 * 256 + 256 + 256 * 7 + 7


def last_block_trial(
    registry: Registry, digits: Stored, protocol: Protocol, name: str = "tiny:dropout=0.5"
) -> tuple[Classifier, Batches]:
    torch.manual_seed(0)
    model = registry.model(name)
    classifier = build_classifier(model, protocol, 10)
    freeze(classifier, protocol.train.what, model.last_block, model.name)
    prepare = preparation(classifier.backbone, protocol.data.image_size)
    return classifier, Batches(digits, subsets(digits, protocol)["train"], prepare, 16, Device("cpu"))


@pytest.mark.parametrize("what", ["last-block", "head"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "muon"])
def test_no_frozen_tensor_changes_by_one_bit(
    registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol], what: str, optimizer: str
) -> None:
    protocol = tiny_protocol(f"train.what={what}", f"optimizer.name={optimizer}", "optimizer.weight_decay=0.1")
    classifier, batches = last_block_trial(registry, digits, protocol)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    trainer = make_trainer(classifier, protocol, batches.steps, "fp32", Device("cpu"))
    train_epoch(trainer, batches.shuffled(0, 0, protocol.augmentation))
    changed = {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}
    trained = ("head.",) if what == "head" else ("head.", "backbone.block.")
    assert changed == {name for name in before if name.startswith(trained)}
    assert any("running_mean" in name for name in changed) == (what == "last-block")


def test_the_frozen_part_is_in_evaluation_mode_and_the_rest_in_training_mode(
    registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol]
) -> None:
    classifier, _ = last_block_trial(registry, digits, tiny_protocol("train.what=last-block"))
    classifier.eval()
    train_mode(classifier)
    modes = {name: module.training for name, module in classifier.backbone.named_children()}
    assert not any(modes[name] for name in ("stem", "pool", "early_dropout"))
    assert all(modes[name] for name in ("block", "late_dropout"))


def test_nothing_is_kept_for_gradients_of_the_frozen_part(
    registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol]
) -> None:
    """The ordinary way, without cached features, keeps no more for the backward pass than the last block needs."""
    classifier, batches = last_block_trial(registry, digits, tiny_protocol("train.what=last-block"), "tiny")
    train_mode(classifier)
    images, _ = next(batches.in_order())
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    stem: list[torch.Tensor] = []
    hook = classifier.backbone.get_submodule("stem").register_forward_hook(lambda *a: stem.append(a[2]))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = classifier(images)
        kept_in_all = len(kept)
        hook.remove()
        kept.clear()
        backbone = classifier.backbone
        features = torch.nn.functional.max_pool2d(stem[0], 2)
        for name in ("block", "late_dropout", "grid", "features"):
            features = backbone.get_submodule(name)(features)
        rest = classifier.head(features)
    assert kept_in_all == len(kept) > 0
    assert not stem[0].requires_grad and logits.requires_grad and rest.requires_grad


def test_a_model_without_a_last_block_says_how_to_name_it(registry: Registry) -> None:
    with pytest.raises(RequestError, match="timm/resnet18:last_block=MODULE"):
        frozen(registry, "timm/resnet18", load_protocol("cifar10"))
    with pytest.raises(RequestError, match="'layer9' is no module of it"):
        frozen(registry, "timm/resnet18:last_block=layer9", load_protocol("cifar10"))


def test_a_frozen_batch_norm_inside_a_block_that_trains_is_none(registry: Registry) -> None:
    classifier = frozen(registry, "densenet121", load_protocol("cifar10"))
    train_mode(classifier)
    norms = {n: m for n, m in classifier.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all(
        m.training == n.startswith(("backbone.features.denseblock4", "backbone.features.norm5"))
        for n, m in norms.items()
    )

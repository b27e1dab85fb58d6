"""What is frozen stays as it is, to the bit; the rest trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench import RequestError
from bench.data.batches import Batches
from bench.data.cache import Stored
from bench.data.splits import Subset
from bench.device import Device
from bench.models.classifier import Classifier, build_classifier, build_head, preparation
from bench.models.freezing import freeze, train_mode
from bench.models.parts import parameter_counts
from bench.plugins import Registry
from bench.protocol import Head, Protocol
from bench.train.loop import fit, make_trainer


@pytest.fixture
def classifier(registry: Registry, tiny_protocol: Callable[..., Protocol]) -> Callable[..., Classifier]:
    """`classifier("last-block")`: the tiny model with dropout, frozen like that; which of its layers are new."""

    def make(what: str, *new_layers: str) -> Classifier:
        torch.manual_seed(0)
        model = build_classifier(registry.model("tiny:dropout=0.5"), tiny_protocol("head.hidden=[8]"), 10)
        model.new_layers = new_layers
        freeze(model, what, "block", "tiny")
        return model

    return make


def trainable(model: nn.Module) -> set[str]:
    """The children of backbone and head that train."""
    return {".".join(name.split(".")[:2]) for name, p in model.named_parameters() if p.requires_grad}


def test_full_training_trains_everything(classifier: Callable[..., Classifier]) -> None:
    assert all(parameter.requires_grad for parameter in classifier("full").parameters())


def test_last_block_training_trains_that_block_and_all_after_it(classifier: Callable[..., Classifier]) -> None:
    assert trainable(classifier("last-block")) == {"backbone.block", "head.0", "head.3"}


def test_head_training_trains_the_head(classifier: Callable[..., Classifier]) -> None:
    assert trainable(classifier("head")) == {"head.0", "head.3"}


def training(model: Classifier) -> set[str]:
    """The modules without children that are in training mode."""
    return {name for name, part in model.named_modules() if part.training and not list(part.children())}


HEAD = {"head.0", "head.1", "head.2", "head.3"}
BLOCK = {"backbone.block.0", "backbone.block.1", "backbone.block.2", "backbone.late_dropout"}


def test_frozen_batch_norm_and_dropout_are_in_evaluation_mode(classifier: Callable[..., Classifier]) -> None:
    for what, expected in (("head", HEAD), ("last-block", HEAD | BLOCK | {"backbone.grid", "backbone.features"})):
        model = classifier(what).eval()
        train_mode(model)
        assert training(model) == expected
    model = classifier("full").eval()
    train_mode(model)
    assert {"backbone.stem.1", "backbone.early_dropout"} | BLOCK | HEAD <= training(model)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "muon"])
@pytest.mark.parametrize("what", ["last-block", "head"])
def test_no_frozen_tensor_changes_by_a_bit_and_all_that_trains_changes(
    what: str,
    optimizer: str,
    classifier: Callable[..., Classifier],
    digits: Stored,
    tiny_protocol: Callable[..., Protocol],
    tmp_path: Path,
) -> None:
    protocol = tiny_protocol(
        "train.epochs=2", "schedule.name=constant", f"optimizer.name={optimizer}", "optimizer.weight_decay=0.1"
    )
    model = classifier(what)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    device = Device("cpu")
    batches = Batches(digits, Subset("train", np.arange(128)), preparation(model.backbone, 8), 64, device)
    trainer = make_trainer(device.place(model), protocol, batches.steps, "fp32", device)
    weights = []
    fit(trainer, batches, batches, protocol, 0, tmp_path / "c.pt", lambda progress: weights.append(copied(model)))
    frozen = ("backbone.stem",) if what == "last-block" else ("backbone.",)
    for after in weights:
        for name, tensor in after.items():
            if name.startswith(frozen):
                assert torch.equal(tensor, before[name]), name
            else:
                assert not torch.equal(tensor, before[name]), name
    assert len(weights) == 2


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_model_without_a_last_block_is_refused(classifier: Callable[..., Classifier]) -> None:
    with pytest.raises(RequestError, match="tiny has no last block"):
        freeze(classifier("full"), "last-block", None, "tiny")


def test_a_timm_model_without_a_last_block_is_told_how_to_name_one(classifier: Callable[..., Classifier]) -> None:
    with pytest.raises(RequestError, match="timm/x:last_block=MODULE"):
        freeze(classifier("full"), "last-block", None, "timm/x")


@pytest.mark.parametrize("name", ["blocks.99", ""])
def test_a_last_block_that_is_no_module_of_the_model_is_refused(
    name: str, classifier: Callable[..., Classifier]
) -> None:
    with pytest.raises(RequestError, match="last block"):
        freeze(classifier("full"), "last-block", name, "tiny")


def test_parameters_are_counted_whole_and_trainable(classifier: Callable[..., Classifier]) -> None:
    stem, block = (3 * 9 * 8 + 8) + 16, (8 * 9 * 16 + 16) + 32
    head = (256 * 8 + 8) + (8 * 10 + 10)
    assert parameter_counts(classifier("full")) == (stem + block + head, stem + block + head)
    assert parameter_counts(classifier("last-block")) == (stem + block + head, block + head)
    assert parameter_counts(classifier("head")) == (stem + block + head, head)


def test_a_frozen_norm_without_parameters_does_not_drift() -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 4, 1), nn.Flatten())
    model = Classifier(backbone, build_head(16, Head(), 2))
    freeze(model, "last-block", "2", "mine")
    train_mode(model)
    model(torch.rand(4, 3, 2, 2))
    assert (backbone[1].running_mean == 0).all()


# New layers: those without pretrained weights.


class _Chain(nn.Module):
    """Four frozen layers with dropout, of which the second has got a new layer inside."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(4))
        )
        self.blocks[1].add_module("new", nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))
        self.end = nn.Dropout(0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.end(self.blocks(images.flatten(1)[:, :4]))
        return features


def chain(what: str, *new_layers: str) -> Classifier:
    torch.manual_seed(0)
    model = Classifier(_Chain(), nn.Linear(4, 2), new_layers)
    freeze(model, what, "blocks.3", "chain")
    return model


NEW = {"backbone.blocks.1.new.0", "backbone.blocks.1.new.1"}
LAST = {"backbone.blocks.3.0", "backbone.blocks.3.1", "backbone.blocks.3.2"}


@pytest.mark.parametrize("pattern", ["blocks.1.new", "*.new", "blocks.*.new", "blocks.1.n*"])
def test_new_layers_train_wherever_they_stand(pattern: str) -> None:
    for what, others in (("last-block", LAST - {"backbone.blocks.3.2"}), ("head", set())):
        model = chain(what, pattern)
        names = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        assert names == {"head", "backbone.blocks.1.new.0", *others}


def test_frozen_layers_behind_new_ones_are_in_evaluation_mode() -> None:
    model = chain("last-block", "*.new")
    train_mode(model)
    assert training(model) == {"head", "backbone.end", *NEW, *LAST}
    model = chain("last-block")
    train_mode(model)
    assert training(model) == {"head", "backbone.end", *LAST}


def test_gradients_pass_frozen_layers_behind_new_ones() -> None:
    model = chain("head", "*.new")
    train_mode(model)
    model(torch.randn(4, 1, 2, 2)).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name for name in gradients if "backbone" in name} == {
        f"backbone.blocks.1.new.0.{n}" for n in ("weight", "bias")
    }
    assert all(gradient.any() for gradient in gradients.values())


def test_new_layers_that_are_no_modules_of_the_model_are_refused(classifier: Callable[..., Classifier]) -> None:
    assert trainable(classifier("last-block", "stem")) == {"backbone.stem", "backbone.block", "head.0", "head.3"}
    with pytest.raises(RequestError, match=r"tiny: its new layers 'blocks\.new' are no modules of it"):
        classifier("last-block", "blocks.new")

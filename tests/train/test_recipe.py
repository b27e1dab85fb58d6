"""What a recipe can say of a step: loss, weight decay, layer-wise rates, warm-up, clipping, averaging, parts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench import RequestError
from bench.data.cache import Stored
from bench.models.classifier import build_weightless
from bench.plugins import Registry
from bench.protocol import Protocol
from bench.run.prepare import prepare
from bench.train.loop import Progress, Trainer, fit, make_trainer
from bench.train.optimizer import check_class_weights, class_weights, make_loss, make_optimizer, make_schedule
from bench.train.state import Average

Made = Callable[..., Protocol]
CLASSES = ("a", "b", "c")
LABELS = torch.tensor([0] * 6 + [1] * 3 + [2])


def test_smoothing_and_class_weights_are_those_of_torch(tiny_protocol: Made) -> None:
    logits, targets = torch.randn(8, 3), torch.randint(0, 3, (8,))
    plain = make_loss(tiny_protocol(), CLASSES, LABELS)
    assert plain is functional.cross_entropy
    smooth = make_loss(tiny_protocol("loss.label_smoothing=0.1"), CLASSES, LABELS)
    assert torch.equal(smooth(logits, targets), functional.cross_entropy(logits, targets, label_smoothing=0.1))
    protocol = tiny_protocol("loss.class_weights={a=2.0,c=0.5}", "loss.label_smoothing=0.1")
    weights = torch.tensor([2.0, 1.0, 0.5]) * 10 / (12 + 3 + 0.5)
    expected = functional.cross_entropy(logits, targets, weights, label_smoothing=0.1)
    torch.testing.assert_close(make_loss(protocol, CLASSES, LABELS)(logits, targets), expected)


def test_balanced_classes_weigh_the_same_and_a_picture_one_on_average(tiny_protocol: Made) -> None:
    weights = class_weights(tiny_protocol("loss.class_weights=balanced"), (*CLASSES, "none of these"), LABELS)
    assert weights is not None
    counts = torch.tensor([6.0, 3.0, 1.0])
    torch.testing.assert_close(weights[:3] * counts, torch.full((3,), 10 / 3))
    assert weights[3] == 0
    assert float(weights[LABELS].mean()) == pytest.approx(1)


def test_a_class_that_the_data_have_not_is_named(tiny_protocol: Made) -> None:
    with pytest.raises(RequestError, match="the data have no class 'd'; they have a, b, c"):
        check_class_weights(tiny_protocol("loss.class_weights={d=2.0}"), CLASSES)


def rates(model: nn.Module, protocol: Protocol) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = make_optimizer(model, protocol).param_groups
    return {names[one]: (group["lr"], group["weight_decay"]) for group in groups for one in group["params"]}


def test_weight_decay_of_weights_spares_norms_biases_embeddings_and_tokens(
    registry: Registry, tiny_protocol: Made
) -> None:
    protocol = tiny_protocol("optimizer.weight_decay=0.05", "optimizer.decayed=weights", "model.options={patch_size=4}")
    vit = _model(registry, protocol)
    decays = {name: decay for name, (_, decay) in rates(vit, protocol).items()}
    assert set(decays) == {name for name, _ in vit.named_parameters()}
    spared = {name for name, decay in decays.items() if not decay}
    assert {"backbone.cls_token", "backbone.pos_embed", "backbone.norm.weight", "head.0.bias"} <= spared
    assert {"backbone.blocks.0.attn.qkv.weight", "backbone.patch_embed.proj.weight", "head.0.weight"}.isdisjoint(spared)
    assert set(decays.values()) == {0.0, 0.05}
    words = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2))
    assert rates(words, protocol)["0.weight"] == (protocol.optimizer.learning_rate, 0.0)
    everything = tiny_protocol("optimizer.weight_decay=0.05")
    assert len(make_optimizer(vit, everything).param_groups) == 1


def _model(registry: Registry, protocol: Protocol, name: str = "vit_tiny") -> Any:
    return build_weightless(registry.model(name), protocol, 10)


@pytest.mark.parametrize("name", ["vit_tiny", "densenet121", "tiny"])
def test_each_layer_s_rate_is_a_share_of_the_next_one_s(name: str, registry: Registry, tiny_protocol: Made) -> None:
    size = () if name == "tiny" else ("data.image_size=32",)
    protocol = tiny_protocol("optimizer.layer_decay=0.5", "optimizer.learning_rate=0.1", *size)
    model = _model(registry, protocol, name)
    found = {parameter: rate for parameter, (rate, _) in rates(model, protocol).items()}
    assert found["head.0.weight"] == found["head.0.bias"] == 0.1
    levels = sorted(set(found.values()))
    assert len(levels) >= 3 and levels[-2] == pytest.approx(0.05)
    if name == "tiny":
        assert found["backbone.block.0.weight"] == pytest.approx(0.05)
        assert found["backbone.stem.0.weight"] == pytest.approx(0.025)
    if name == "vit_tiny":
        blocks = [found[f"backbone.blocks.{number}.attn.qkv.weight"] for number in range(12)]
        assert [b / a for a, b in pairwise(blocks)] == pytest.approx([2.0] * 11)
        assert found["backbone.patch_embed.proj.weight"] == min(levels)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "exponential", "constant"])
def test_a_schedule_moves_all_rates_alike_and_after_its_warm_up_goes_as_without(
    schedule: str, tiny_protocol: Made
) -> None:
    def course(*more: str) -> list[tuple[float, float]]:
        protocol = tiny_protocol(f"schedule.name={schedule}", "schedule.gamma=0.5", *more)
        model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        optimizer = torch.optim.Adam(
            [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.2}]
        )
        schedules, found = make_schedule(optimizer, protocol, 5), []
        for _ in range(protocol.train.epochs * 5):
            found.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"]))
            optimizer.step()
            schedules.step()
        return found

    plain = course("train.epochs=4")
    assert [b / a for a, b in plain] == pytest.approx([2.0] * 20)
    warmed = course("train.epochs=6", "schedule.warm_up=2")
    assert [one for one, _ in warmed[10:]] == pytest.approx([one for one, _ in plain], rel=1e-6)
    rising = [one for one, _ in warmed[:10]]
    assert rising == pytest.approx([plain[0][0] * (step + 1) / 11 for step in range(10)])


def test_muon_moves_a_matrix_as_far_in_every_direction_and_a_bias_as_far_in_every_number(tiny_protocol: Made) -> None:
    """A matrix by 0.2 √(its longer side) of the rate, on average as far as AdamW would (Liu et al., 2025)."""
    torch.manual_seed(0)
    layer = nn.Linear(16, 9)
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    layer(torch.randn(32, 16)).square().mean().backward()
    make_optimizer(layer, tiny_protocol("optimizer.name=muon", "optimizer.learning_rate=0.01")).step()
    moved = {name: parameter.detach() - before[name] for name, parameter in layer.named_parameters()}
    assert layer.weight.grad is not None and layer.bias.grad is not None
    gradient = torch.linalg.svdvals(layer.weight.grad)
    spectrum = torch.linalg.svdvals(moved["weight"]) / (0.01 * 0.2 * 16**0.5)
    assert gradient[0] > 2 * gradient[-1]
    assert spectrum.min() > 0.6 and spectrum.max() < 1.3
    steps = moved["bias"] / -layer.bias.grad.sign()
    assert steps.min() > 0 and steps.max() / steps.min() < 1.001


def test_gradients_are_scaled_down_to_the_norm_and_no_further(
    registry: Registry, digits: Stored, tiny_protocol: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: dict[float, float] = {}
    for most in (0.0, 0.01, 1e6):
        protocol = tiny_protocol(f"optimizer.clip_norm={most}")
        prepared = prepare(registry.model("tiny"), protocol, digits, 0, "cpu")
        trainer = make_trainer(prepared.model, protocol, 3, "fp32", prepared.device)
        trainer.step(*next(prepared.batches["train"].shuffled(0, 0, protocol.augmentation)))
        gradients = [p.grad for p in prepared.model.parameters() if p.grad is not None]
        norms[most] = float(torch.stack([one.norm() for one in gradients]).norm())
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3)
    assert norms[1e6] == norms[0.0] > 0.01


def test_an_average_keeps_what_it_says_and_counts_are_taken_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(model, 0.5)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for number in range(1, 9):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(1 if tensor.dtype == torch.long else torch.rand_like(tensor))
        average.update()
        keep = min(0.5, (1 + number) / (10 + number))
        for name, tensor in model.state_dict().items():
            count = tensor.dtype == torch.long
            expected[name] = tensor.clone() if count else keep * expected[name] + (1 - keep) * tensor
    for name, tensor in average.state.items():
        torch.testing.assert_close(tensor, expected[name])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with average.in_place() as state:
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Interrupted(Exception):  # noqa: N818 — what happens, not what went wrong
    """Ctrl-C."""


def fitted(
    registry: Registry, digits: Stored, protocol: Protocol, file: Path, stop: int = 0
) -> tuple[Progress, dict[str, torch.Tensor], Trainer]:
    prepared = prepare(registry.model("tiny:dropout=0.3"), protocol, digits, 0, "cpu")
    batches = prepared.batches
    trainer = make_trainer(prepared.model, protocol, batches["train"].steps, "fp32", prepared.device)

    def ended(progress: Progress) -> None:
        if progress.epochs == stop:
            raise Interrupted

    progress = fit(trainer, batches["train"], batches["val"], protocol, 0, file, ended)
    return progress, {name: tensor.clone() for name, tensor in prepared.model.state_dict().items()}, trainer


RECIPE = (
    "train.ema=0.9", "train.micro_batch=16", "optimizer.clip_norm=1.0", "optimizer.layer_decay=0.7",
    "optimizer.decayed=weights", "optimizer.weight_decay=0.05", "loss.label_smoothing=0.1", "schedule.warm_up=0.5",
    "schedule.name=cosine", "train.epochs=4",
)  # fmt: skip


def test_the_average_is_what_is_evaluated_and_kept_and_an_interruption_changes_nothing(
    registry: Registry, digits: Stored, tiny_protocol: Made, tmp_path: Path
) -> None:
    protocol = tiny_protocol(*RECIPE)
    whole, weights, trainer = fitted(registry, digits, protocol, tmp_path / "whole.pt")
    assert trainer.average is not None and trainer.most == 16
    if whole.best_epoch == whole.epochs:
        assert all(torch.equal(weights[name], tensor) for name, tensor in trainer.average.state.items())
    plain, _, _ = fitted(registry, digits, tiny_protocol(*RECIPE[1:]), tmp_path / "plain.pt")
    assert plain.train_loss == whole.train_loss  # what trains is not the average
    assert plain.val_loss != whole.val_loss
    with pytest.raises(Interrupted):
        fitted(registry, digits, protocol, tmp_path / "resumed.pt", stop=2)
    resumed, again, _ = fitted(registry, digits, protocol, tmp_path / "resumed.pt")
    assert (resumed.train_loss, resumed.val_loss) == (whole.train_loss, whole.val_loss)
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.micro_batch=7"], "train.micro_batch = 7 does not divide batch_size = 64"),
        (["train.micro_batch=1"], "batch norm cannot train on one picture"),
        (["train.ema=0.9", "train.what=head"], "train.ema: what = head trains too little for an average"),
        (["schedule.warm_up=8"], "schedule.warm_up = 8 leaves none of 3 epochs to the schedule"),
        (["train.ema=1"], "train.ema = 1: "),
        (["loss.label_smoothing=1"], "loss.label_smoothing = 1: "),
        (["optimizer.layer_decay=0"], "optimizer.layer_decay = 0: "),
        (["optimizer.clip_norm=-1"], "optimizer.clip_norm = -1: "),
        (["optimizer.decayed=some"], "optimizer.decayed = 'some': "),
        (["loss.class_weights={a=0}"], "loss.class_weights.a = 0: should be greater than 0"),
        (["loss.class_weights=each"], "loss.class_weights = 'each': should be 'none' or 'balanced', or a table {name="),
        (["loss.class_weights=3"], "loss.class_weights = 3: should be 'none' or 'balanced', or a table {name="),
    ],
)
def test_settings_out_of_range_or_that_contradict_are_refused_in_one_line(
    overrides: list[str], says: str, tiny_protocol: Made
) -> None:
    with pytest.raises(RequestError) as refused:
        tiny_protocol(*overrides)
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_a_setting_at_its_default_changes_no_fingerprint(tiny_protocol: Made) -> None:
    off = [
        "train.ema=0", "train.micro_batch=0", "optimizer.clip_norm=0", "optimizer.layer_decay=1",
        "optimizer.decayed=all", "loss.label_smoothing=0", "loss.class_weights=none", "schedule.warm_up=0",
    ]  # fmt: skip
    assert tiny_protocol(*off).fingerprint == tiny_protocol().fingerprint
    on = {tiny_protocol(one).fingerprint for one in (*RECIPE[:8], "loss.class_weights=balanced")}
    assert len(on) == 9 and tiny_protocol().fingerprint not in on

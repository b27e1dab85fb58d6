"""FDViT computes what its authors computed, at any image size; its auto-encoder costs training, not inference."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench import RequestError
from bench.device import Device
from bench.measure.macs import count_macs, training_macs
from bench.measure.memory import inference_memory
from bench.measure.subject import Inference, InferenceOptions
from bench.models.classifier import Classifier, build_classifier
from bench.models.freezing import freeze, train_mode
from bench.models.parts import parameter_counts, training_only_parameters
from bench.models.weights.load import file_digest
from bench.plugins import Registry
from bench.protocol import load_protocol
from bench.request import TrialSpec, Weights
from bench.run.trial import run as run_trial
from bench.train.loop import Trainer, make_trainer, train_epoch
from bench.train.prefix.halves import split_model

CPU = Device("cpu")
PAPERS = ["fdvit_ti", "fdvit_s", "fdvit_b"]
DEIT = "deit_tiny_distilled:patch_size=8+flexible_downsampling"
# The reference vectors' configuration: grids 15, 11 and 8 at 32 pixels.
REFERENCE = "fdvit_ti:patch_size=4,widths=[16,24,30],heads=[2,4,6],depths=[1,2,1]"
SMALL = "fdvit_ti:patch_size=8,widths=[8,12],heads=[2,3],depths=[1,1]"


@pytest.fixture(scope="module")
def plugin(registry: Registry) -> Any:
    """The plugin's module."""
    return sys.modules[registry.models["fdvit_ti"][0].build.func.__module__]  # type: ignore[attr-defined]


def built(registry: Registry, name: str, *overrides: str, what: str = "full", device: str = "meta") -> Classifier:
    """The model with a linear head at 32 pixels; on `meta` with its shapes only."""
    settings = ["model.weights=scratch", "data.image_size=32", "head.hidden=[]", f"train.what={what}", *overrides]
    model = registry.model(name)
    torch.manual_seed(0)
    with torch.device(device):
        classifier = build_classifier(model, load_protocol("cifar10", settings), 10)
    freeze(classifier, what, model.last_block, name)
    return classifier


@pytest.fixture
def small(registry: Registry) -> Callable[..., Classifier]:
    """`small("mask_weight=0")`: two narrow stages, grids 7 and 5, on the CPU."""

    def make(*options: str, what: str = "full", image_size: int = 32) -> Classifier:
        name = ",".join([SMALL, *options])
        return built(registry, name, f"data.image_size={image_size}", what=what, device="cpu")

    return make


IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# The authors' numbers.


@pytest.fixture(scope="module")
def vectors(reference_vectors: Callable[[str], dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """The authors' weights (`params/…`), input, intermediates and logits, in float64."""
    return {name: torch.from_numpy(array).double() for name, array in reference_vectors("fdvit.npz").items()}


def authors_state(vectors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("params/"): value for name, value in vectors.items() if name.startswith("params/")}


def assert_as_the_authors(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_every_intermediate_and_the_logits_equal_the_authors(
    registry: Registry, vectors: dict[str, torch.Tensor]
) -> None:
    model: Any = built(registry, REFERENCE, device="cpu").backbone.double().eval()
    state = authors_state(vectors)
    head = {name: state.pop(f"head.{name}") for name in ("weight", "bias")}
    model.load_state_dict(state)
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: seen.update({name: output})

    model.transformers[0].register_forward_pre_hook(lambda _module, inputs: seen.update(stem=inputs[0]))
    for stage in (0, 1):
        model.transformers[stage].register_forward_hook(keep(f"stage{stage}/tokens"))
        model.pools[stage].register_forward_hook(keep(f"stage{stage}/downsampled"))
    with torch.no_grad():
        logits = functional.linear(model(vectors["input"]), **head)
        for stage in (0, 1):
            tokens = seen[f"stage{stage}/tokens"]
            seen[f"stage{stage}/decoded"] = model.decoders[stage](seen[f"stage{stage}/downsampled"])
            seen[f"stage{stage}/tokens"] = tokens.flatten(2).transpose(1, 2)
    for name, found in (seen | {"logits": logits}).items():
        assert_as_the_authors(found, vectors[name])
    assert set(seen) == {name for name in vectors if name == "stem" or name.startswith("stage")}


@pytest.mark.parametrize(
    ("name", "millions", "grids"),
    [
        ("fdvit_ti", 4.6, [27, 19, 14, 10, 7]),
        ("fdvit_s", 21.6, [27, 19, 14, 10, 7]),
        ("fdvit_b", 68.1, [31, 22, 16, 11, 8]),
    ],
)
def test_the_paper_s_models_have_its_parameters_and_grids(
    name: str, millions: float, grids: list[int], registry: Registry
) -> None:
    backbone: Any = built(registry, name, "data.image_size=224").backbone
    classifier = (backbone.norm.weight.numel() + 1) * 1000
    assert parameter_counts(backbone)[0] + classifier == pytest.approx(millions * 1e6, rel=0.005)
    assert backbone.resolved_options["grids"] == grids
    assert [stage.grid[0] for stage in backbone.transformers] == grids


# GMACs as the paper counts its own, without attention's two products; and the share that is saved, both counted
# whole. The paper's 39 % for FDViT-S compares the former with a ViT-S whose attention is counted.
@pytest.mark.parametrize(
    ("name", "paper", "baseline", "saved"),
    [
        ("fdvit_ti", 0.575, "vit_tiny", 0.34),
        ("fdvit_s", 2.765, "vit_small", 0.28),
        ("deit_tiny_distilled+flexible_downsampling", None, "deit_tiny_distilled", 0.38),
    ],
)
def test_smaller_grids_save_macs(
    name: str, paper: float | None, baseline: str, saved: float, registry: Registry
) -> None:
    few, many = (count_macs(built(registry, model, "data.image_size=224").backbone, 224) for model in (name, baseline))
    assert 1 - few.macs / many.macs == pytest.approx(saved, abs=0.01)
    assert few.cross_check.agrees
    if paper is not None:
        as_in_the_paper = few.by_operator["linear"] + few.by_operator["conv"]
        assert as_in_the_paper / 1e9 == pytest.approx(paper, rel=0.005)


# Sizes.


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, size) for name in [*PAPERS, DEIT] for size in (32, 224)), ("fdvit_ti", 9), (DEIT, 48)],
)
def test_an_fdvit_takes_any_size(name: str, size: int, registry: Registry) -> None:
    classifier = built(registry, name, f"data.image_size={size}")
    assert classifier(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 10)


def test_without_a_patch_size_it_follows_from_the_image_and_is_said(registry: Registry) -> None:
    found = [built(registry, "fdvit_ti", f"data.image_size={size}").backbone.resolved_options for size in (32, 64)]
    assert found[0] == {"patch_size": 8, "stride": 4, "grids": [7, 5, 4, 2, 2]}
    assert found[1] == {"patch_size": 16, "stride": 8, "grids": [7, 5, 4, 2, 2]}


def test_the_layers_between_a_vits_blocks_scale_with_its_grid_and_are_said(registry: Registry) -> None:
    assert built(registry, DEIT).extension_options == ({"after": [3, 7], "grids": [4, 3, 2]},)
    large = built(registry, "vit_base+flexible_downsampling:grids=[14,7],after=[5]", "data.image_size=448")
    assert large.extension_options == ({"after": [5], "grids": [28, 14]},)
    with pytest.raises(RequestError, match=r"2 × 2 patches of an image of 32 pixels are too few to become 1 × 1 and"):
        built(registry, "vit_tiny+flexible_downsampling")


@pytest.mark.parametrize(("before", "after"), [(27, 19), (14, 10), (5, 5), (7, 2), (2, 1)])
def test_downsampling_samples_at_multiples_of_a_stride_that_is_no_integer(before: int, after: int, plugin: Any) -> None:
    layer = plugin.flexible_downsampling(4, 6, after)
    down = torch.arange(float(before)).view(1, 1, -1, 1).expand(1, 4, before, before)
    stride = (before - 1) / max(1, after - 1)
    # A ramp has at each position its coordinate, and bilinear interpolation is exact on it.
    torch.testing.assert_close(layer.resample(down)[0, 0, :, 0], torch.arange(float(after)) * stride)
    assert layer(down).shape == (1, 6, after, after)


@pytest.mark.parametrize(
    "options",
    [
        *("widths=[64,92]", "widths=[15],heads=[2],depths=[1]", "widths=8,heads=2,depths=1", "depths=[2,3,3,2,0]"),
        *("mask_ratio=1.0", "mask_ratio=much", "mask_weight=-1", "patch_size=64", "patch_size=-4", "stride=0.5"),
    ],
)
def test_options_that_no_fdvit_can_have_are_refused(options: str, registry: Registry) -> None:
    with pytest.raises(RequestError, match=r"^fdvit_ti: "):
        built(registry, f"fdvit_ti:{options}")


@pytest.mark.parametrize(
    "options",
    ["grids=[14]", "grids=14", "grids=[7,14]", "after=[3]", "after=[7,3]", "after=[3,12]", "after=5"],
)
def test_places_that_no_deit_has_are_refused(options: str, registry: Registry) -> None:
    with pytest.raises(RequestError, match=r"flexible_downsampling: "):
        built(registry, f"{DEIT}:{options}")


# The masked auto-encoder.


def test_the_loss_reaches_every_parameter(small: Callable[..., Classifier]) -> None:
    model = small()
    train_mode(model)
    logits = model(IMAGES)
    extra = model.training_loss()
    assert extra is not None
    (logits.square().sum() + extra).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # A bias of the keys changes no softmax; the other two thirds of qkv's do.
        assert parameter.grad.any(), name


def test_the_extra_loss_is_that_of_the_definition(small: Callable[..., Classifier]) -> None:
    model: Any = small("mask_ratio=0.5", "mask_weight=2").backbone
    kept: dict[str, torch.Tensor] = {}
    calls: list[torch.Tensor] = []
    model.transformers[0].register_forward_hook(lambda _m, _i, output: kept.update(grid=output))
    model.pools[0].register_forward_pre_hook(lambda _m, inputs: calls.append(inputs[0]))
    model(IMAGES)
    grid, masked = kept["grid"], next(call for call in calls if call is not kept["grid"])
    hidden = (masked == 0).all(1)  # (N, h, h): whole tokens
    assert 0.3 < hidden.float().mean() < 0.7
    torch.testing.assert_close(masked, 2 * grid * ~hidden[:, None])
    expected = 2 * (model.decoders[0](model.pools[0](masked)) - grid).square().mean()
    torch.testing.assert_close(model.training_loss(), expected)


def test_the_extra_loss_is_for_training_only_and_given_once(small: Callable[..., Classifier]) -> None:
    model = small()
    model(IMAGES)
    assert model.training_loss() is not None
    assert model.training_loss() is None
    model(IMAGES)
    with torch.inference_mode():
        evaluated = model.eval()(IMAGES)
    assert model.training_loss() is None
    copy.deepcopy(model)  # nothing of the graph is left in it
    torch.testing.assert_close(model.train()(IMAGES), evaluated, msg="masks are for the auto-encoder alone")


def test_masks_follow_from_torch_s_seed(small: Callable[..., Classifier]) -> None:
    model = small()

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        model(IMAGES)
        extra = model.training_loss()
        assert extra is not None
        return extra.item()

    assert loss(1) == loss(1) != loss(2)


def test_a_weight_of_0_builds_no_decoder(small: Callable[..., Classifier]) -> None:
    model, without = small(), small("mask_weight=0")
    assert (training_only_parameters(model), training_only_parameters(without)) == (12 * 8 * 9 + 8, 0)
    assert parameter_counts(model) == parameter_counts(without)
    without(IMAGES)
    assert without.training_loss() is None


def test_the_auto_encoder_costs_training_and_not_inference(small: Callable[..., Classifier]) -> None:
    model, without = small(), small("mask_weight=0")
    assert count_macs(model, 32).macs == count_macs(without, 32).macs
    peaks = []
    for one in (model, without):
        inference = Inference(one, 32, CPU, InferenceOptions())
        peaks.append(inference_memory(inference.with_batch, inference.parameter_bytes, [2], CPU))
    assert peaks[0] == peaks[1]
    # Downsampling once more (8 → 12) and decoding (12 → 8), 5 × 5 positions; in the backward pass both twice.
    downsampling = decoding = 25 * 9 * 8 * 12
    assert training_macs(model, 32) - training_macs(without, 32) == 3 * (downsampling + decoding)


def test_macs_are_those_worked_out_by_hand(small: Callable[..., Classifier]) -> None:
    def block(tokens: int, width: int) -> dict[str, int]:
        return {
            "linear": tokens * width * width * (3 + 1 + 4 + 4),
            "scaled_dot_product_attention": 2 * tokens * tokens * width,
            "conv": tokens * width * 9,
            "layer_norm": 2 * 5 * tokens * width,
        }

    first, second = block(49, 8), block(25, 12)
    expected = {kind: first[kind] + second[kind] for kind in first}
    expected["conv"] += 49 * 8 * 3 * 64 + 25 * 12 * 8 * 9  # patches of 8 × 8; the downsampling's 3 × 3
    expected["layer_norm"] += 5 * 49 * 8 + 5 * 25 * 12  # the downsampling's, and the last
    expected["upsample_bilinear2d"] = 4 * 25 * 8
    assert count_macs(small().backbone, 32).by_operator == expected


def test_nothing_of_the_auto_encoder_trains_with_the_last_stage_alone(registry: Registry) -> None:
    model: Any = built(registry, "fdvit_ti:patch_size=8", what="last-block", device="cpu")
    trained = {name.split(".")[1] for name, parameter in model.backbone.named_parameters() if parameter.requires_grad}
    assert {
        name for name, p in model.backbone.named_parameters() if p.requires_grad and "transformers" not in name
    } == {
        "norm.weight",
        "norm.bias",
    }
    assert "4" in trained and "3" not in trained
    train_mode(model)
    model(IMAGES)
    assert model.training_loss() is None


def trainer(model: Classifier, precision: str = "fp32") -> Trainer:
    protocol = load_protocol("quick", ["optimizer.learning_rate=3e-3", "schedule.name=constant"])
    return make_trainer(model, protocol, 1, precision, CPU)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_lowers_both_losses(precision: str, small: Callable[..., Classifier]) -> None:
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    made = trainer(small("mask_weight=1"), precision)
    history = [train_epoch(made, iter([(images, labels)])) for _ in range(25)]
    assert history[-1][0] < 0.7 * history[0][0]
    first, last = history[0][2], history[-1][2]
    assert first is not None and last is not None
    assert last < 0.9 * first


def test_checkpointing_the_blocks_changes_no_gradient(small: Callable[..., Classifier]) -> None:
    gradients = []
    for enable in (False, True):
        model: Any = small()
        model.backbone.set_grad_checkpointing(enable)
        torch.manual_seed(0)
        (model(IMAGES).square().sum() + model.training_loss()).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


@pytest.mark.slow
def test_a_trial_records_the_extra_loss_and_keeps_decoders_apart(tiny_trial: Callable[..., TrialSpec]) -> None:
    options = "widths=[8,12],heads=[2,3],depths=[1,1]"
    with_it = run_trial(tiny_trial("train.epochs=2", "model.options={}", model=f"fdvit_ti:{options}"))
    without = run_trial(tiny_trial("train.epochs=2", "model.options={}", model=f"fdvit_ti:{options},mask_weight=0"))
    assert with_it.status == without.status == "ok"
    assert with_it.training is not None and without.training is not None
    extra = with_it.training.history.extra_loss
    assert len(extra) == 2 and extra[0] > extra[1] > 0
    assert without.training.history.extra_loss == []
    assert with_it.model.params == without.model.params == with_it.model.trainable_params
    assert (with_it.model.training_only_params, without.model.training_only_params) == (12 * 8 * 9 + 8, 0)
    costs, fewer = with_it.efficiency, without.efficiency
    assert costs is not None and fewer is not None
    assert costs.macs == fewer.macs
    assert costs.training_macs and fewer.training_macs and costs.training_macs > fewer.training_macs
    assert costs.memory and fewer.memory
    assert costs.memory.inference_peak == fewer.memory.inference_peak
    assert costs.memory.train_peak and fewer.memory.train_peak
    assert costs.memory.train_peak > fewer.memory.train_peak


# Weights.


def with_weights(registry: Registry, name: str, file: Path, *overrides: str) -> nn.Module:
    protocol = load_protocol("cifar10", ["data.image_size=32", *overrides])
    return build_classifier(registry.model(name), protocol, 10, Weights(file, file_digest(file), "file", True)).backbone


@pytest.fixture
def checkpoint(registry: Registry, tmp_path: Path) -> Callable[..., Path]:
    """A file as the authors' training writes it, with the classifier; without the tensors of some names."""

    def write(*left_out: str, image_size: int = 32) -> Path:
        state = built(registry, REFERENCE, f"data.image_size={image_size}", device="cpu").backbone.state_dict()
        state |= {"head.weight": torch.zeros(1000, 30), "head.bias": torch.zeros(1000)}
        torch.save(
            {"model": {k: v for k, v in state.items() if not (left_out and k.startswith(left_out))}},
            tmp_path / "fdvit.pth",
        )
        return tmp_path / "fdvit.pth"

    return write


def test_a_checkpoint_of_the_authors_is_loaded_whole(registry: Registry, checkpoint: Callable[..., Path]) -> None:
    file = checkpoint()
    loaded = with_weights(registry, REFERENCE, file).state_dict()
    saved = torch.load(file, weights_only=True)["model"]
    assert set(saved) - set(loaded) == {"head.weight", "head.bias"}
    assert all(torch.equal(value, saved[name]) for name, value in loaded.items())


@pytest.mark.parametrize(("options", "left_out"), [("", ["decoders"]), (",mask_weight=0", [])])
def test_decoders_may_be_in_the_file_or_in_the_model_alone(
    options: str, left_out: list[str], registry: Registry, checkpoint: Callable[..., Path]
) -> None:
    file = checkpoint(*left_out)
    loaded = with_weights(registry, REFERENCE + options, file).state_dict()
    saved = torch.load(file, weights_only=True)["model"]
    assert {name for name in loaded if not torch.equal(loaded[name], saved.get(name, torch.empty(0)))} == {
        name for name in loaded if name.startswith("decoders.") and not options
    }


def test_a_checkpoint_that_lacks_anything_else_is_refused(registry: Registry, checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match=r"2 of the .* tensors .* are missing: norm"):
        with_weights(registry, REFERENCE, checkpoint("norm."))


def test_weights_fit_other_image_and_patch_sizes(registry: Registry, checkpoint: Callable[..., Path]) -> None:
    file = checkpoint(image_size=48)
    saved = torch.load(file, weights_only=True)["model"]
    saved["pos_embed"] = torch.linspace(0, 1, 23).expand(1, 16, 23, 23)
    saved["patch_embed.conv.weight"] = torch.ones(16, 3, 4, 4)
    torch.save(saved, file)
    other: Any = with_weights(registry, REFERENCE.replace("patch_size=4", "patch_size=6"), file)
    # A ramp stays one, from end to end; a patch of one colour gives what it gave.
    torch.testing.assert_close(other.pos_embed[0, 0, 0], torch.linspace(0, 1, 9), atol=0.05, rtol=0)
    torch.testing.assert_close(other.patch_embed.conv.weight.sum((2, 3)), torch.full((16, 3), 16.0))
    assert torch.equal(other.norm.weight, saved["norm.weight"])


# The layer in a DeiT.


@pytest.fixture(scope="module")
def deit(registry: Registry) -> Callable[..., Classifier]:
    def make(what: str = "full", *overrides: str) -> Classifier:
        return built(registry, f"{DEIT}:after=[1,4]", *overrides, what=what, device="cpu")

    return make


def test_a_deit_keeps_its_names_and_its_weights(registry: Registry, tmp_path: Path) -> None:
    import timm

    torch.manual_seed(3)
    state = timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, patch_size=8).state_dict()
    torch.save(state, tmp_path / "deit.pt")
    loaded = with_weights(registry, DEIT, tmp_path / "deit.pt").state_dict()
    new = {name for name in loaded if name not in state}
    assert {name.split(".layer.")[0] for name in new} == {"blocks.downsampling3", "blocks.downsampling7"}
    assert all(torch.equal(loaded[name], state[name]) for name in loaded if name not in new)
    torch.save(loaded, tmp_path / "trained.pt")
    again = with_weights(registry, DEIT, tmp_path / "trained.pt").state_dict()
    assert all(torch.equal(again[name], loaded[name]) for name in loaded)


def test_prefix_tokens_pass_untouched_and_the_grid_starts_as_resampled(deit: Callable[..., Classifier]) -> None:
    layer = deit().backbone.get_submodule("blocks.downsampling1")
    tokens = torch.randn(2, 2 + 16, 192)
    found = layer(tokens)
    assert found.shape == (2, 2 + 9, 192)
    assert torch.equal(found[:, :2], tokens[:, :2])
    grid = functional.layer_norm(tokens[:, 2:], (192,)).transpose(1, 2).unflatten(2, (4, 4))
    resampled = functional.interpolate(grid, size=(3, 3), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found[:, 2:], resampled.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


def test_the_layers_train_whatever_is_frozen(deit: Callable[..., Classifier]) -> None:
    for what, blocks in (
        ("last-block", {"downsampling1", "downsampling4", "11"}),
        ("head", {"downsampling1", "downsampling4"}),
    ):
        names = [name for name, parameter in deit(what).backbone.named_parameters() if parameter.requires_grad]
        assert {name.split(".")[1] for name in names if name.startswith("blocks.")} == blocks


def test_a_deit_s_frozen_prefix_ends_where_the_first_layer_stands(deit: Callable[..., Classifier]) -> None:
    model = deit("last-block")
    found = split_model(model, 32)
    assert found.at == ["backbone.blocks.1"]
    model.eval()
    torch.testing.assert_close(found.rest(*found.prefix(IMAGES)), model(IMAGES), rtol=1e-4, atol=1e-5)


def test_a_deit_s_blocks_can_be_checkpointed(deit: Callable[..., Classifier]) -> None:
    plain, checkpointed = deit(), deit()
    checkpointed.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    for model in (plain, checkpointed):
        model(IMAGES).square().sum().backward()
    for one, other in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("name", [SMALL, f"{DEIT}:after=[1,4]"])
def test_a_state_dict_round_trips(name: str, registry: Registry) -> None:
    one, other = built(registry, name, device="cpu").eval(), built(registry, name, device="cpu").eval()
    for parameter in one.parameters():
        nn.init.normal_(parameter, std=0.02)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(IMAGES), other(IMAGES))


def test_inference_is_the_same_in_channels_last(small: Callable[..., Classifier]) -> None:
    model = small()
    plain = Inference(model, 32, CPU, InferenceOptions())
    fast = replace(InferenceOptions(), channels_last=True)
    torch.manual_seed(0)
    expected = plain.with_batch(2)()
    torch.manual_seed(0)
    torch.testing.assert_close(Inference(model, 32, CPU, fast).with_batch(2)(), expected)

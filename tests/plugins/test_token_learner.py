"""TokenLearner computes what the paper's authors computed, in any ViT, and changes nothing else of it."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench import RequestError
from bench.device import Device
from bench.measure.macs import count_macs
from bench.models.classifier import Classifier, build_classifier
from bench.models.freezing import freeze, train_mode
from bench.models.parts import parameter_counts
from bench.plugins import Registry
from bench.protocol import load_protocol
from bench.request import RunOptions, TrialSpec
from bench.run import trial
from bench.train.loop import make_trainer
from bench.train.prefix.halves import split_model

Arrays = dict[str, np.ndarray]
BASES = ("deit_tiny_distilled", "deit_small_distilled", "deit_base_distilled", "vit_tiny", "vit_base")
TINY = "deit_tiny_distilled:patch_size=8+token_learner"
# Every way to insert it into four blocks.
VARIANTS: dict[str, dict[str, Any]] = {
    "after the first": {"after": 0},
    "before the last": {"after": 2},
    "1.0": {"after": 1, "version": "1.0"},
    "1.0-mean": {"after": 1, "version": "1.0-mean"},
    "fuser": {"after": 0, "fuser": True},
    "fuser, 1.0": {"after": 1, "fuser": True, "version": "1.0"},
}


@pytest.fixture(scope="module")
def plugin(registry: Registry) -> Any:
    """The plugin's module."""
    return sys.modules[registry.extensions["token_learner"][0].apply.__module__]


@pytest.fixture(scope="module")
def types(plugin: Any) -> SimpleNamespace:
    """Its module classes."""
    found: SimpleNamespace = plugin.modules()
    return found


def built(registry: Registry, name: str, *overrides: str, what: str = "full") -> Classifier:
    """The model under `cifar10`, with its shapes only, at 32 pixels and with a linear head."""
    settings = ["model.weights=scratch", "data.image_size=32", "head.hidden=[]", f"train.what={what}", *overrides]
    model = registry.model(name)
    with torch.device("meta"):
        classifier = build_classifier(model, load_protocol("cifar10", settings), 10)
    freeze(classifier, what, model.last_block, name)
    return classifier


SMALL = {"depth": 4, "embed_dim": 24, "num_heads": 2, "patch_size": 8, "img_size": 32, "num_classes": 0}


@pytest.fixture(scope="module")
def small(plugin: Any) -> Callable[..., Classifier]:
    """`small("fuser", "last-block")`: a distilled DeiT of four narrow blocks, and what of it trains."""
    import timm

    def make(variant: str, what: str = "full") -> Classifier:
        torch.manual_seed(0)
        backbone = timm.create_model("deit_tiny_distilled_patch16_224", **SMALL)
        plugin.insert(backbone, 3, **VARIANTS[variant])
        for path, parameter in backbone.named_parameters():
            if "token_fuser" in path:  # whose matrix starts as 0, and stops what would go through it
                nn.init.normal_(parameter, std=0.5)
        model = Classifier(backbone, nn.Linear(24, 10), ("*.token_learner", "*.token_fuser"))
        freeze(model, what, "blocks.3", variant)
        return model

    return make


def pictures(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# What the authors computed, and what the formulas say.


def loaded(module: nn.Module, parameters: Arrays) -> nn.Module:
    """The module in float64 with the authors' parameters, whose names and layouts are those of flax."""
    names = {
        "token_masking/Dense_0": "mlp.0",
        "token_masking/Dense_1": "mlp.2",
        "LayerNorm_0": "norm",
        "fuser_mix_norm1": "mix_norm1",
        "fuser_mix_norm2": "mix_norm2",
        "Dense_0": "mix",
        **{f"Conv_{number}": f"convolutions.{number}" for number in range(4)},
    }
    state = {}
    for key, value in parameters.items():
        layer, _, kind = key.rpartition("/")
        tensor = torch.from_numpy(value)
        if kind == "kernel":  # (in, out) or (h, w, in, out)
            tensor = tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T
        state[f"{names[layer]}.{'bias' if kind == 'bias' else 'weight'}"] = tensor
    module.double().load_state_dict(state)
    return module


def parameters_of(arrays: Arrays, part: str) -> Arrays:
    start = f"{part}/params/"
    return {key.removeprefix(start): value.astype(np.float64) for key, value in arrays.items() if key.startswith(start)}


def assert_equal_within_1e5(found: torch.Tensor, expected: np.ndarray) -> None:
    assert tuple(found.shape) == expected.shape
    assert np.abs(found.detach().numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("part", ["v10_sum", "v10_mean", "v11", "fuser"])
def test_the_modules_give_the_reference_vectors(
    part: str, types: SimpleNamespace, reference_vectors: Callable[[str], Arrays]
) -> None:
    arrays = reference_vectors("token_learner.npz")
    grid = torch.from_numpy(arrays["input"]).double()
    if part == "fuser":
        module, inputs = types.TokenFuser(32, 8), (torch.from_numpy(arrays["fuser/tokens"]).double(), grid)
    elif part == "v11":
        module, inputs = types.TokenLearner11(32, 8), (grid,)
    else:
        module, inputs = types.TokenLearner10(32, 8, (6, 6), part.removeprefix("v10_")), (grid,)
    assert_equal_within_1e5(loaded(module, parameters_of(arrays, part))(*inputs), arrays[f"{part}/output"])


def layer_norm(x: np.ndarray, parameters: Arrays, name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    normed: np.ndarray = scaled * parameters[f"{name}/scale"] + parameters[f"{name}/bias"]
    return normed


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def dense(x: np.ndarray, parameters: Arrays, name: str) -> np.ndarray:
    product: np.ndarray = x @ parameters[f"{name}/kernel"] + parameters[f"{name}/bias"]
    return product


def mlp(x: np.ndarray, parameters: Arrays) -> np.ndarray:
    return dense(gelu(dense(x, parameters, "token_masking/Dense_0")), parameters, "token_masking/Dense_1")


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(N, H, W, C) by (3, 3, C, out), zeros around."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    taps = (padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))
    return sum(taps, np.zeros((*x.shape[:3], kernel.shape[-1])))


def by_hand(part: str, p: Arrays, grid: np.ndarray, shape: tuple[int, int], tokens: np.ndarray) -> np.ndarray:
    """The formulas of the references' README, token by token and position by position where that is simplest."""
    normed = layer_norm(grid, p, "LayerNorm_0")
    if part == "fuser":
        mixed = layer_norm(tokens, p, "fuser_mix_norm1")
        mixed = np.einsum("nic,io->noc", mixed, p["Dense_0/kernel"]) + p["Dense_0/bias"][None, :, None]
        mixed = layer_norm(mixed, p, "fuser_mix_norm2")
        fused: np.ndarray = np.einsum("npt,ntc->npc", sigmoid(mlp(normed, p)), mixed)
        return fused
    if part == "v11":
        exponentials = np.exp(mlp(normed, p))
        weights = exponentials / exponentials.sum(1, keepdims=True)
    else:
        maps = normed.reshape(len(grid), *shape, -1)
        for number in range(3):
            maps = gelu(convolve(maps, p[f"Conv_{number}/kernel"]))
        weights = sigmoid(convolve(maps, p["Conv_3/kernel"])).reshape(len(grid), grid.shape[1], -1)
    weighted = weights[..., None] * grid[:, :, None]  # picture, position, token, channel
    pooled: np.ndarray = weighted.mean(1) if part == "v10_mean" else weighted.sum(1)
    return pooled


def random_parameters(module: nn.Module, part: str, rng: np.random.Generator) -> Arrays:
    """Parameters for the module, under flax's names."""
    width = int(module.norm.weight.numel())  # type: ignore[union-attr, operator]
    if part in {"v10_sum", "v10_mean"}:
        tokens = module.convolutions[0].weight.shape[0]  # type: ignore[index, union-attr]
        shapes = {f"Conv_{n}/kernel": (3, 3, tokens if n else width, tokens) for n in range(4)}
    else:
        tokens = module.mlp[2].weight.shape[0]  # type: ignore[index, union-attr]
        shapes = {
            "token_masking/Dense_0/kernel": (width, 64),
            "token_masking/Dense_0/bias": (64,),
            "token_masking/Dense_1/kernel": (64, tokens),
            "token_masking/Dense_1/bias": (tokens,),
        }
    norms = ["LayerNorm_0"]
    if part == "fuser":
        shapes |= {"Dense_0/kernel": (tokens, tokens), "Dense_0/bias": (tokens,)}
        norms += ["fuser_mix_norm1", "fuser_mix_norm2"]
    for norm in norms:
        shapes |= {f"{norm}/scale": (width,), f"{norm}/bias": (width,)}
    return {name: rng.normal(size=shape) * 0.3 for name, shape in shapes.items()}


@pytest.mark.parametrize("part", ["v10_sum", "v10_mean", "v11", "fuser"])
@pytest.mark.parametrize(
    ("width", "tokens", "shape", "prefix"), [(12, 5, (3, 7), 0), (20, 1, (5, 2), 2), (8, 16, (1, 4), 1)]
)
def test_other_sizes_and_grids_that_are_not_square_follow_the_formulas(
    part: str, width: int, tokens: int, shape: tuple[int, int], prefix: int, types: SimpleNamespace
) -> None:
    rng = np.random.default_rng(width)
    # So small that the LayerNorms' epsilon counts.
    grid, processed = (0.01 * rng.normal(size=(3, count, width)) for count in (shape[0] * shape[1], tokens))
    if part == "fuser":
        module = types.TokenFuser(width, tokens)
    elif part == "v11":
        module = types.TokenLearner11(width, tokens, prefix)
    else:
        module = types.TokenLearner10(width, tokens, shape, part.removeprefix("v10_"), prefix)
    parameters = random_parameters(module, part, rng)
    expected = by_hand(part, parameters, grid, shape, processed)
    loaded(module, parameters)
    if part == "fuser":
        assert_equal_within_1e5(module(torch.from_numpy(processed), torch.from_numpy(grid)), expected)
        return
    front = rng.normal(size=(3, prefix, width))
    found = module(torch.from_numpy(np.concatenate([front, grid], axis=1)))
    assert torch.equal(found[:, :prefix], torch.from_numpy(front))
    assert_equal_within_1e5(found[:, prefix:], expected)


def test_fusion_adds_to_the_grid_and_takes_the_tokens_in_front_as_they_come(types: SimpleNamespace) -> None:
    torch.manual_seed(0)
    fuser = types.TokenFuser(8, 3)
    before, tokens = torch.randn(2, 2 + 6, 8), torch.randn(2, 2 + 3, 8)
    fusion = types.Fusion(fuser, 2)
    assert torch.equal(fusion(tokens, before)[:, 2:], before[:, 2:])  # as it starts: nothing is added
    nn.init.normal_(fuser.mix.weight)
    found = fusion(tokens, before)
    assert torch.equal(found[:, :2], tokens[:, :2])
    assert torch.equal(found[:, 2:], before[:, 2:] + fuser(tokens[:, 2:], before[:, 2:]))
    assert not torch.equal(found[:, 2:], before[:, 2:])


def test_the_modules_start_as_the_authors_do(types: SimpleNamespace) -> None:
    """Convolutions as flax: deviation (9 · inputs)^-1/2. MLPs: uniform within (6 / (inputs + outputs))^1/2."""
    torch.manual_seed(0)
    first, second = types.TokenLearner10(200, 32, (4, 4)).convolutions[:2]
    assert first.weight.std().item() == pytest.approx(1800**-0.5, rel=0.02)
    assert second.weight.std().item() == pytest.approx(288**-0.5, rel=0.02)
    for module in (types.TokenLearner11(200, 32), types.TokenFuser(200, 32)):
        assert module.mlp[0].weight.abs().max().item() == pytest.approx((6 / 264) ** 0.5, rel=0.01)
        assert module.mlp[2].weight.abs().max().item() == pytest.approx((6 / 96) ** 0.5, rel=0.01)
        assert module.mlp[0].bias.abs().max() < 1e-5
    assert not types.TokenFuser(200, 32).mix.weight.any()


# In a ViT.


def tokens_in_each_block(model: Classifier, size: int = 32) -> tuple[list[int], Counter[int]]:
    """How many tokens the blocks get, in the order in which they run, and how often each runs."""
    seen, ran = [], Counter[int]()
    hooks = []
    for number in range(12):
        block = model.backbone.get_submodule(f"blocks.{number}.attn")

        def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], number: int = number) -> None:
            seen.append(inputs[0].shape[1])
            ran[number] += 1

        hooks.append(block.register_forward_pre_hook(note))
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    return seen, ran


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [18] * 6 + [10] * 6),
        (":after=5", [18] * 6 + [10] * 6),
        (":after=0.25,tokens=3", [18] * 3 + [5] * 9),
        (":after=0", [18] + [10] * 11),
        (":after=10", [18] * 11 + [10]),
        (":after=8,fuser=true,version=1.0", [18] * 9 + [10] * 3),
    ],
)
def test_each_block_runs_once_on_the_grid_before_and_on_the_tokens_behind(
    options: str, expected: list[int], registry: Registry
) -> None:
    seen, ran = tokens_in_each_block(built(registry, TINY + options))
    assert seen == expected
    assert ran == dict.fromkeys(range(12), 1)


@pytest.mark.parametrize(
    ("name", "size", "patch"),
    [*((BASES[0], size, patch) for size, patch in ((16, 4), (32, 8), (224, 16))), *((base, 384, 16) for base in BASES)],
)
def test_every_model_takes_every_size_with_its_own_patches(
    name: str, size: int, patch: int, registry: Registry
) -> None:
    options = f":patch_size={patch}" if patch != 16 else ""
    model = built(registry, f"{name}{options}+token_learner", f"data.image_size={size}")
    assert model(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 10)
    assert model.extension_options == ({"after": 5},)
    front = 2 if "deit" in name else 1
    assert tokens_in_each_block(model, size)[0] == [(size // patch) ** 2 + front] * 6 + [8 + front] * 6


def test_a_grid_that_is_too_small_is_refused_and_so_are_patches_that_do_not_fit(registry: Registry) -> None:
    with pytest.raises(RequestError, match=r"tokens=8 are not fewer than the 2 × 2 patches of an image of 32 pixels"):
        built(registry, "vit_tiny+token_learner")
    assert tokens_in_each_block(built(registry, "vit_tiny+token_learner:tokens=3"))[0] == [5] * 6 + [4] * 6
    with pytest.raises(RequestError, match="image size 40 is not a multiple of its patch size 16"):
        built(registry, "vit_tiny+token_learner", "data.image_size=40")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("tokens=0", "tokens=0 must be a whole number, 1 or more"),
        ("tokens=2.5", "tokens=2.5 must be"),
        ("after=99", "after=99 is no block's number from 0 to 10"),
        ("after=11", "after=11 is no"),
        ("after=-1", "after=-1 is no"),
        ("after=1.0", "after=1.0 is no"),
        ("after=0.01", "after=0.01 is no"),
        ("after=middle", "after=middle is no"),
        ("after=10,fuser=true", r"after=10 is no block's number from 0 to 9 \(fuser=true\)"),
        ("version=2", "version=2 must be one of 1.1, 1.0, 1.0-mean"),
        ("version=1", "version=1 must be"),
        ("fuser=3", "fuser=3 must be true or false"),
    ],
)
def test_what_it_cannot_be_built_with_is_refused_in_one_line(options: str, says: str, registry: Registry) -> None:
    with pytest.raises(RequestError, match=f"token_learner: {says}") as refused:
        built(registry, f"{TINY}:{options}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("fuser", [False, True])
def test_it_goes_into_any_timm_vit_whose_own_weights_keep_their_names(prefix: int, fuser: bool, plugin: Any) -> None:
    import timm

    vit = timm.create_model(
        "vit_tiny_patch16_224",
        **SMALL | {"img_size": (32, 48)},
        class_token=prefix > 0,
        reg_tokens=max(0, prefix - 1),
        global_pool="token" if prefix else "avg",
    ).eval()
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    names, before = list(vit.state_dict()), vit.blocks[:2](vit.norm_pre(vit._pos_embed(vit.patch_embed(images))))
    plugin.insert(vit, 8, 1, "1.0", fuser)
    new = [name for name in vit.state_dict() if "token_learner." in name or "token_fuser." in name]
    assert [name for name in vit.state_dict() if name not in new] == names
    seen = []
    for number in (0, 1, 2, 3):
        hook = vit.get_submodule(f"blocks.{number}.attn").register_forward_pre_hook(lambda *a: seen.append(a[1][0]))
    with torch.no_grad():
        assert vit(images).shape == (2, 24)
    hook.remove()
    assert [x.shape[1] for x in seen] == [24 + prefix] * 2 + [8 + prefix] * 2
    if not fuser:  # what stands in front comes to the next block as it left the one before
        assert torch.equal(seen[2][:, :prefix], vit.blocks[3].norm1(before[:, :prefix]))
    # Behind the last block the grid is given back where it makes the features.
    assert ("blocks.3.token_fuser.fuser.mix.weight" in new) == (fuser and not prefix)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_checkpointing_changes_no_gradient(variant: str, small: Callable[..., Classifier]) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = small(variant)
        model.backbone.set_grad_checkpointing(checkpointed)  # type: ignore[operator]
        model(pictures()).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
def test_torch_fx_traces_it_whole(variant: str, small: Callable[..., Classifier]) -> None:
    model = small(variant).eval()
    assert torch.equal(torch.fx.symbolic_trace(model.backbone)(pictures()), model.backbone(pictures()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_copy_and_a_state_dict_give_the_same_model(variant: str, small: Callable[..., Classifier]) -> None:
    model, other = small(variant).eval(), small(variant).eval()
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(pictures()), model(pictures()))
    assert torch.equal(copy.deepcopy(model)(pictures()), model(pictures()))


# Training.


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("what", ["full", "last-block", "head"])
def test_gradients_reach_every_parameter_that_trains(variant: str, what: str, small: Callable[..., Classifier]) -> None:
    model = small(variant, what)
    train_mode(model)
    model(pictures()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        # M's bias is one value for all channels of a token, which the LayerNorm behind it takes away again.
        if parameter.grad is not None and not name.endswith("fuser.mix.bias"):
            assert parameter.grad.any(), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_under_last_block_training_the_new_layers_train_too_wherever_they_stand(
    variant: str, small: Callable[..., Classifier]
) -> None:
    for name, parameter in small(variant, "last-block").backbone.named_parameters():
        trains = "token_learner" in name or "token_fuser" in name or name.startswith(("blocks.3.", "norm."))
        assert parameter.requires_grad == trains, name


def test_the_trainable_parameters_are_counted(registry: Registry) -> None:
    """DeiT-Tiny's last block and norm, a linear head, and the module's LayerNorm and MLP."""
    block, norm, head = 12 * 192**2 + 13 * 192, 2 * 192, 192 * 10 + 10
    module = 2 * 192 + (192 * 64 + 64) + (64 * 8 + 8)
    model = built(registry, TINY, what="last-block")
    assert parameter_counts(model)[1] == block + norm + head + module


@pytest.mark.parametrize("variant", ["after the first", "fuser"])
def test_frozen_layers_behind_it_stay_as_they_are_and_in_evaluation_mode(
    variant: str, small: Callable[..., Classifier]
) -> None:
    model = small(variant, "last-block")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    protocol = load_protocol("cifar10", ["optimizer.learning_rate=1e-2"])
    trainer = make_trainer(model, protocol, 10, "fp32", Device("cpu"))
    train_mode(model)
    for path, part in model.backbone.named_modules():
        block = path.split(".")[1:2] or [""]
        if block[0] in {"0", "1", "2"} and path.count(".") > 1:
            assert part.training == ("token_" in path), path
        elif block[0] in {"3", "token_learner"}:
            assert part.training, path
    losses = [trainer.step(pictures(8), torch.arange(8))[0].item() for _ in range(4)]
    assert losses[-1] < losses[0]
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in trains), name


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("what", ["last-block", "head"])
def test_the_frozen_prefix_ends_before_it(variant: str, what: str, small: Callable[..., Classifier]) -> None:
    split = split_model(small(variant, what), 32)
    assert split.at == [f"backbone.blocks.{VARIANTS[variant]['after']}"]
    assert split.found_by == "torch.fx"


@pytest.mark.slow
@pytest.mark.parametrize("options", [":after=9", ":after=9,fuser=true,version=1.0"])
def test_a_trial_gives_the_same_with_cached_features_and_records_what_was_left_open(
    options: str, tiny_trial: Callable[..., TrialSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "measure", lambda *asked: None)  # whose road is tested elsewhere
    settings = ("train.what=last-block", "train.epochs=2", "data.image_size=32", "train.limit=40", "data.test_limit=20")
    spec = tiny_trial(*settings, "data.validation=40", model=TINY + options)
    other = replace(spec, folder=tmp_path / "without", options=RunOptions(frozen_prefix=False))
    cached, plain = trial.run(spec), trial.run(other)
    assert cached.status == plain.status == "ok"
    assert cached.training is not None and plain.training is not None and cached.training.frozen_prefix is not None
    assert cached.training.frozen_prefix["at"] == ["backbone.blocks.9"]
    assert cached.training.history.val_top1 == plain.training.history.val_top1
    assert cached.training.history.train_loss == pytest.approx(plain.training.history.train_loss, abs=1e-4)
    assert cached.training.history.val_loss == pytest.approx(plain.training.history.val_loss, abs=1e-4)
    assert cached.model.base == "deit_tiny_distilled:patch_size=8"
    assert [one.resolved_options for one in cached.model.extensions] == [{"after": 9}]


# What it costs.


def block_macs(tokens: int, width: int = 192) -> int:
    """Two LayerNorms at 5 an element, query, key, value and projection, attention's two products, the MLP."""
    norms, linear, attention = 10 * tokens * width, 12 * tokens * width**2, 2 * tokens**2 * width
    return norms + linear + attention


def test_the_macs_are_those_worked_out_by_hand(registry: Registry) -> None:
    """32 pixels, patches of 8: 16 of them and two tokens in front; four tokens from block 3 on."""
    counted = count_macs(built(registry, f"{TINY}:after=2,tokens=4"), 32)
    stem, norm, head = 16 * 192 * 3 * 8 * 8, 5 * 6 * 192, 192 * 10
    learner = 5 * 16 * 192 + 16 * 192 * 64 + 16 * 64 * 4 + 4 * 16 * 192
    assert counted.macs == stem + 3 * block_macs(18) + learner + 9 * block_macs(6) + norm + head
    assert counted.by_module["backbone.blocks.token_learner"] == learner
    assert counted.cross_check.agrees


def test_the_macs_of_the_other_modules_are_those_worked_out_by_hand(registry: Registry) -> None:
    """Version 1.0 and TokenFuser around block 10, version 1.0 in front of block 11."""
    counted = count_macs(built(registry, f"{TINY}:after=9,tokens=4,version=1.0,fuser=true"), 32)
    learner = 5 * 16 * 192 + 16 * 9 * 4 * (192 + 3 * 4) + 4 * 16 * 192
    norms, mix, mlp_, spread = 5 * 192 * (4 + 4 + 16), 192 * 4 * 4, 16 * 192 * 64 + 16 * 64 * 4, 16 * 4 * 192
    assert counted.by_module["backbone.blocks.10"] == learner + block_macs(6) + norms + mix + mlp_ + spread
    assert counted.by_module["backbone.blocks.token_learner"] == learner
    assert counted.by_module["backbone.blocks.11"] == block_macs(6)
    assert counted.cross_check.agrees


ELEMENT_WISE = {"add", "gelu", "softmax", "sigmoid", "div", "mul", "mean", "add_", "div_", "mul_"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_heavy_is_left_uncounted(variant: str, small: Callable[..., Classifier]) -> None:
    assert set(count_macs(small(variant), 32).uncounted_operators) <= ELEMENT_WISE


@pytest.mark.slow
def test_the_macs_fall_as_the_paper_says(registry: Registry) -> None:
    def macs(name: str) -> int:
        return count_macs(built(registry, name, "data.image_size=224"), 224).macs

    whole = macs("deit_base_distilled")
    assert macs("deit_base_distilled+token_learner") / whole == pytest.approx(
        0.5, abs=0.04
    )  # half of it, in the middle
    assert macs("deit_base_distilled+token_learner:after=2,tokens=16") / whole < 1 / 3  # up to two thirds saved
    assert 0.5 < macs("deit_base_distilled+token_learner:fuser=true") / whole < 0.75

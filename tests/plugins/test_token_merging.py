"""Token merging computes what the authors' code computes, on trained models as in training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench import ExtensionSpec, RequestError
from bench.measure.macs import count_macs
from bench.models.classifier import Classifier, build_classifier
from bench.models.freezing import freeze, train_mode
from bench.plugins import Registry
from bench.protocol import load_protocol
from bench.request import RunOptions, TrialSpec
from bench.run import trial
from bench.train.prefix.halves import split_model

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def token_merging(registry: Registry) -> ExtensionSpec:
    return registry.extensions["token_merging"][0]


def vit(kind: str = "vit", **settings: Any) -> Any:
    """Of the references' size, with random weights."""
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    made = {"img_size": 24, "patch_size": 4, "embed_dim": 24, "num_heads": 3, "depth": 4, "num_classes": 5} | settings
    return (VisionTransformer if kind == "vit" else VisionTransformerDistilled)(**made)


def images(count: int = 2, size: int = 24) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["vit", "deit"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("r=2", {"r": 2}), ("r=5", {"r": 5}), ("r=(4,-1.0)", {"r": 4, "schedule": "decreasing"}), ("r=2", {"r": [2] * 4})],
)
def test_tokens_and_logits_are_the_authors(
    kind: str,
    name: str,
    options: dict[str, Any],
    token_merging: ExtensionSpec,
    reference_vectors: Callable[[str], Arrays],
) -> None:
    arrays = reference_vectors("token_merging.npz")
    start = f"{kind}/params/"
    model = vit(kind).double().eval()
    model.load_state_dict({k.removeprefix(start): torch.from_numpy(arrays[k]) for k in arrays if k.startswith(start)})
    inputs = torch.from_numpy(arrays[f"{kind}/input"])
    merged = token_merging.apply(copy.deepcopy(model), image_size=24, **options)
    with torch.no_grad():
        for found, wanted in (
            (model(inputs), arrays[f"{kind}/plain"]),
            (merged.forward_features(inputs), arrays[f"{kind}/{name}/tokens"]),
            (merged(inputs), arrays[f"{kind}/{name}/logits"]),
        ):
            assert np.abs(found.numpy() - wanted).max() <= 1e-5


def test_schedules_are_the_authors(token_merging: ExtensionSpec) -> None:
    def numbers(**options: Any) -> list[int]:
        found: list[int] = token_merging.apply(vit(depth=12, img_size=56), image_size=56, **options).resolved_options[
            "r"
        ]
        return found

    assert numbers(r=8) == numbers() == [8] * 12  # by default half of 14 × 14 patches are left
    assert numbers(r=8, schedule="decreasing") == [16, 14, 13, 11, 10, 8, 7, 5, 4, 2, 1, 0]
    assert numbers(r=8, schedule="increasing") == [0, 1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16]
    assert numbers(r=[3, 0, 2]) == [3, 0, 2, *[0] * 9]
    assert numbers(r=1000) == [98, 49, 24, 12, 6, 3, 2, 1, 0, 0, 0, 0]  # at most half of what may merge


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"r": -1}, "r=-1 must be a whole number"),
        ({"r": 2.5}, "r=2.5 must be"),
        ({"r": "many"}, "r=many must be"),
        ({"r": [1, -1]}, "must be a whole number"),
        ({"r": [1] * 5}, "a list of at most 4"),
        ({"schedule": "slow"}, "schedule=slow must be one of constant, decreasing, increasing"),
        ({"r": [1], "schedule": "decreasing"}, "a list of r has its own"),
    ],
)
def test_what_it_cannot_be_applied_with_is_refused(
    options: dict[str, Any], says: str, token_merging: ExtensionSpec
) -> None:
    with pytest.raises(RequestError, match=f"^token_merging: .*{says}"):
        token_merging.apply(vit(), image_size=24, **options)
    with pytest.raises(RequestError, match="a single patch; use smaller patches"):
        token_merging.apply(vit(img_size=4), image_size=4)


def by_hand(model: Any, inputs: torch.Tensor, r: int) -> torch.Tensor:
    """The features of one picture, token by token, as the paper says it: means of patches, tracked as sets."""
    x = model.norm_pre(model._pos_embed(model.patch_embed(inputs)))[0]
    sets = [{place} for place in range(len(x))]
    prefix = model.num_prefix_tokens
    for block in model.blocks:
        attention, normed = block.attn, block.norm1(x)
        q, k, v = attention.qkv(normed).reshape(len(x), 3, 3, 8).permute(1, 2, 0, 3)
        sizes = torch.tensor([float(len(one)) for one in sets])
        scores = torch.softmax(q @ k.transpose(1, 2) / 8**0.5 + sizes.log(), dim=-1)
        x = x + attention.proj((scores @ v).transpose(0, 1).reshape(len(x), 24))
        keys = k.mean(0)
        a = [place for place in range(prefix, len(x)) if place % 2 == 0]
        b = [place for place in range(prefix, len(x)) if place % 2 == 1]
        near = {p: max((torch.cosine_similarity(keys[p], keys[o], 0).item(), -b.index(o)) for o in b) for p in a}
        gone = sorted(a, key=lambda place: -near[place][0])[:r]
        tokens = {place: [place] for place in range(len(x)) if place not in gone}
        for place in gone:
            tokens[b[-near[place][1]]].append(place)
        order = [*range(prefix), *(p for p in a if p not in gone), *b]
        weights = {place: sum(len(sets[p]) for p in tokens[place]) for place in order}
        x = torch.stack([sum(x[p] * len(sets[p]) for p in tokens[place]) / weights[place] for place in order])  # type: ignore[misc]
        sets = [set.union(*(sets[p] for p in tokens[place])) for place in order]
        x = x + block.mlp(block.norm2(x))
    return torch.as_tensor(model.norm(x))


@pytest.mark.parametrize("settings", [{}, {"reg_tokens": 3}, {"class_token": False, "global_pool": "avg"}])
@pytest.mark.parametrize("r", [1, 7])
def test_any_number_of_tokens_in_front_follows_the_paper(
    settings: dict[str, Any], r: int, token_merging: ExtensionSpec
) -> None:
    model = vit(**settings).eval()
    expected = by_hand(model, images(1), r)
    merged = token_merging.apply(copy.deepcopy(model), image_size=24, r=r)
    merged.blocks.whole = False
    with torch.no_grad():
        assert torch.allclose(merged.forward_features(images(1))[0], expected, atol=1e-5)


def test_where_all_tokens_make_the_features_each_patch_has_its_merged_one_again(token_merging: ExtensionSpec) -> None:
    """A mean over the patches is then one over the merged tokens by their sizes."""
    model = token_merging.apply(vit(class_token=False, global_pool="avg").eval(), image_size=24, r=6)
    with torch.no_grad():
        whole = model.forward_features(images())
        assert whole.shape == (2, 36, 24)
        for one in whole:
            assert len(one.unique(dim=0)) == 12
        model.blocks.whole = False
        assert model.forward_features(images()).shape == (2, 12, 24)


def test_patches_that_are_all_alike_lose_nothing(token_merging: ExtensionSpec) -> None:
    """Attention to merged equals is attention to each of them: that is what proportional means."""
    model = vit().eval()
    nn.init.zeros_(model.pos_embed)
    same = images(2, 4).repeat(1, 1, 6, 6)
    merged = token_merging.apply(copy.deepcopy(model), image_size=24, r=8)
    with torch.no_grad():
        assert torch.allclose(merged(same), model(same), atol=1e-5)
        assert not torch.allclose(merged(images()), model(images()), atol=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 6), st.sampled_from(["vit", "deit"]), st.integers(1, 4))
def test_each_pictures_features_are_its_own(registry: Registry, r: int, kind: str, count: int) -> None:
    token_merging = registry.extensions["token_merging"][0]
    model = token_merging.apply(vit(kind).double().eval(), image_size=24, r=[r] * 4)
    batch = images(count).double()
    with torch.no_grad():
        together, alone = model(batch), torch.cat([model(one[None]) for one in batch])
    assert torch.allclose(together, alone, atol=1e-10)


@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_gradients_reach_every_parameter_and_a_copy_is_the_same(kind: str, token_merging: ExtensionSpec) -> None:
    model = token_merging.apply(vit(kind), image_size=24, r=5)
    names = set(vit(kind).state_dict())
    assert set(model.state_dict()) == names
    given = model(images(8))
    (given[0] + given[1] if isinstance(given, tuple) else given).square().sum().backward()
    unused = {name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()}
    assert not {name for name in unused if "attn.qkv.bias" not in name}
    assert torch.equal(copy.deepcopy(model).eval()(images()), model.eval()(images()))


NAME = "deit_tiny_distilled:patch_size=8+token_merging:r=1"


def built(registry: Registry, name: str, what: str = "full") -> Classifier:
    overrides = [
        "model.weights=scratch",
        "data.image_size=32",
        f"train.what={what}",
        "model.options={}",
        "head.hidden=[]",
    ]
    model = registry.model(name)
    torch.manual_seed(0)
    classifier = build_classifier(model, load_protocol("cifar10", overrides), 10)
    freeze(classifier, what, model.last_block, name)
    return classifier


@pytest.mark.parametrize("what", ["last-block", "head"])
def test_the_frozen_prefix_holds_the_merged_tokens_and_their_sizes(what: str, registry: Registry) -> None:
    classifier = built(registry, NAME, what)
    split = split_model(classifier, 32)
    train_mode(classifier)
    batches = [images(4, 32), images(4, 32).flip(0) * 2]
    features = [split.prefix(batch) for batch in batches]  # of all pictures first, as a trial does
    with torch.no_grad():
        for batch, held in zip(batches, features, strict=True):
            assert torch.allclose(split.rest(*held), classifier(batch), atol=1e-5)
    if what == "last-block":  # 18 tokens, one fewer after each of eleven blocks, and sizes beside them
        assert {tuple(one.shape) for one in features[0]} == {(4, 7, 192), (4, 7, 1)}
        assert split.at == ["backbone.blocks.10"]


@pytest.mark.slow
def test_a_trial_gives_the_same_with_cached_features(
    tiny_trial: Callable[..., TrialSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "measure", lambda *asked: None)  # whose road is tested elsewhere
    limits = ("train.what=last-block", "train.epochs=2", "data.image_size=32", "train.limit=40", "data.test_limit=20")
    spec = tiny_trial(*limits, "data.validation=40", model=NAME)
    cached = trial.run(spec)
    plain = trial.run(replace(spec, folder=tmp_path / "without", options=RunOptions(frozen_prefix=False)))
    assert cached.status == plain.status == "ok"
    assert cached.training is not None and plain.training is not None and cached.training.frozen_prefix is not None
    assert cached.training.frozen_prefix["used"]
    assert cached.training.history.train_loss == pytest.approx(plain.training.history.train_loss, abs=1e-4)


def test_the_macs_are_those_worked_out_by_hand(registry: Registry) -> None:
    """32 pixels, patches of 8, r = 2: 18 tokens attend in the first block, 16 go through its MLP, and so on."""

    def of_block(before: int, after: int, width: int = 192) -> int:
        norms = 5 * width * (before + after)
        linear = 4 * before * width**2 + 8 * after * width**2
        patches = before - 2
        similar = (patches - patches // 2) * (patches // 2) * width // 3 if after < before else 0  # three heads
        return norms + linear + 2 * before**2 * width + similar

    counted = count_macs(built(registry, "deit_tiny_distilled:patch_size=8+token_merging:r=2"), 32)
    tokens, blocks = 18, 0
    for _ in range(12):
        after = tokens - min(2, (tokens - 2) // 2)
        blocks += of_block(tokens, after)
        tokens = after
    stem, norm = 16 * 192 * 3 * 8 * 8, 5 * tokens * 192
    assert counted.macs == stem + blocks + norm + 192 * 10
    assert counted.cross_check.agrees

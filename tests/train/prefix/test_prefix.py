"""The frozen prefix: found in any model, computed once, and the same accuracies with it as without."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from beside import BESIDE
from torch import nn

from bench.data.batches import Batch, Batches
from bench.data.cache import Stored
from bench.data.splits import subsets
from bench.device import Device
from bench.models.classifier import Classifier, build_classifier, preparation
from bench.models.freezing import freeze, train_mode
from bench.plugins import Registry, load_plugins
from bench.protocol import Protocol, load_protocol
from bench.records.identity import Way
from bench.records.record import Record
from bench.request import Place, RunOptions, TrialSpec
from bench.run.sweep import recorded
from bench.run.trial import run as run_trial
from bench.train import prefix as inputs
from bench.train.loop import evaluate, make_trainer
from bench.train.prefix import features, make_inputs
from bench.train.prefix.cut import CannotSplitError
from bench.train.prefix.features import FeatureBatches, allocate, extract, fixed_views
from bench.train.prefix.halves import Split, split_model

CPU = Device("cpu")

# Name, last block, smallest size in pixels that it takes, and the layers whose outputs are cached.
BUNDLED = {
    "vgg19": (32, ["backbone.features.27"]),
    "vgg19_bn": (32, ["backbone.features.39"]),
    "densenet121": (32, ["backbone.features.transition3"]),
    "densenet201": (32, ["backbone.features.transition3"]),
    "deit_tiny_distilled": (32, ["backbone.blocks.10"]),
    "deit_small_distilled": (32, ["backbone.blocks.10"]),
    "deit_base_distilled": (32, ["backbone.blocks.10"]),
    "vit_tiny": (32, ["backbone.blocks.10"]),
    "vit_base": (32, ["backbone.blocks.10"]),
    "efficientnet_lite0": (32, ["backbone.blocks.5"]),
}
FAMILIES = {
    "resnet18:last_block=layer4": (32, ["backbone.layer3"]),
    "convnext_atto:last_block=stages.3": (32, ["backbone.stages.2"]),
    "mobilenetv3_small_050:last_block=blocks.5": (32, ["backbone.blocks.4"]),
    "regnety_002:last_block=s4": (32, ["backbone.s3"]),
    "swin_tiny_patch4_window7_224:last_block=layers.3": (56, ["backbone.layers.2"]),
    # Two tensors, in a tuple.
    "pit_ti_224:last_block=transformers.2": (224, ["backbone.transformers.1"]),
    # Rotary position embeddings, computed outside the blocks.
    "eva02_tiny_patch14_224:last_block=blocks.11": (28, ["backbone.blocks.10"]),
    "cait_xxs24_224:last_block=blocks_token_only": (32, ["backbone.blocks", "expand"]),
    "hrnet_w18_small:last_block=stage4": (64, ["backbone.stage3", "backbone.transition3.3"]),
    # Drops features at random in its own forward pass while training.
    "ghostnet_050:last_block=blocks.9": (32, ["backbone.blocks.8"]),
    "poolformer_s12:last_block=stages.3": (32, ["backbone.stages.2"]),
    "xcit_nano_12_p16_224:last_block=blocks.11": (32, ["backbone.blocks.10"]),
}


def classifier(registry: Registry, name: str, size: int, what: str = "last-block") -> Classifier:
    torch.manual_seed(0)
    model = registry.model(name)
    protocol = load_protocol("cifar10", ["model.weights=scratch", f"data.image_size={size}", f"train.what={what}"])
    built = build_classifier(model, protocol, 10)
    freeze(built, what, model.last_block, model.name)
    return CPU.place(built)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_trains_alike(model: Classifier, split: Split, size: int) -> None:
    """A training step through the halves gives the logits and gradients of the whole model's, its dropout included."""
    images = torch.randn(4, 3, size, size)
    found = []
    for halved in (False, True):
        model.zero_grad(set_to_none=True)
        model.eval()
        with torch.no_grad():
            cached = split.prefix(images)
        train_mode(model)
        torch.manual_seed(5)
        logits = split.rest(*cached) if halved else model(images)
        nn.functional.cross_entropy(logits, torch.arange(4)).backward()
        found.append((logits.detach(), gradients(model)))
    (whole, whole_gradients), (halves, half_gradients) = found
    assert torch.allclose(whole, halves, atol=1e-5)
    assert whole_gradients.keys() == half_gradients.keys()
    for name, gradient in whole_gradients.items():
        scale = gradient.abs().max().clamp_min(1e-6)
        assert (gradient - half_gradients[name]).abs().max() <= 1e-3 * scale, name


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_model_is_split_before_its_last_block(registry: Registry, name: str) -> None:
    size, at = BUNDLED[name]
    model = classifier(registry, name, size)
    split = split_model(model, size)
    assert (split.at, split.found_by) == (at, "torch.fx")
    assert_trains_alike(model, split, size)


@pytest.mark.parametrize("name", FAMILIES)
def test_other_timm_families_are_split_too(registry: Registry, name: str) -> None:
    size, at = FAMILIES[name]
    model = classifier(registry, f"timm/{name}", size)
    split = split_model(model, size)
    assert split.at == at
    if "hrnet" not in name:  # its many batch norms over four values each magnify rounding
        assert_trains_alike(model, split, size)


def test_under_head_training_the_whole_backbone_is_the_prefix(registry: Registry) -> None:
    model = classifier(registry, "deit_tiny_distilled", 32, "head")
    split = split_model(model, 32)
    assert split.at == ["backbone"]
    assert [tuple(f.shape) for f in split.prefix(torch.zeros(2, 3, 32, 32))] == [(2, 192)]


def test_splitting_leaves_the_models_modes_and_the_random_numbers_alone(registry: Registry) -> None:
    model = classifier(registry, "tiny:dropout=0.5", 8)
    train_mode(model)
    before = {name: module.training for name, module in model.named_modules()}
    state = torch.random.get_rng_state()
    split_model(model, 8)
    assert before == {name: module.training for name, module in model.named_modules()}
    assert torch.equal(state, torch.random.get_rng_state())


# Models that cannot be split.


class _Whole(nn.Module):
    """A backbone whose parts the tests put together wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(192, 8)
        self.trained = nn.Linear(8, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.trained(self.frozen(images.flatten(1)))


class _TakesPictures(_Whole):
    def __init__(self) -> None:
        super().__init__()
        self.also = nn.Sequential(nn.Flatten(), nn.Linear(192, 8))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + self.also(images)


class _TakesTheirMean(_Whole):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + images.mean()


class _Branches(_Whole):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images if images.mean() > 0 else -images)


class _LooksAtOthers(_Whole):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        frozen = self.frozen(images.flatten(1))
        return self.trained(frozen - frozen[0])


class _IsRandom(_Whole):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.trained(nn.functional.dropout(self.frozen(images.flatten(1)), 0.5, training=True))


class _DropsBefore(_Whole):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.trained(nn.functional.dropout(self.frozen(images.flatten(1)), 0.5, training=self.training))


class _TrainsFirst(_Whole):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.trained(images.flatten(1)[:, :8]).repeat(1, 24))


class _HasItsOwnLoss(_Whole):
    def training_loss(self) -> torch.Tensor:
        return torch.zeros(())


class _DropsLate(_Whole):
    """Its dropout was registered after what trains, but comes before it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.trained(self.drop(self.frozen(images.flatten(1))))


def test_what_is_random_in_training_stays_outside_the_prefix() -> None:
    model = Classifier(_DropsLate(), nn.Linear(8, 4))
    model.backbone.get_submodule("frozen").requires_grad_(False)
    split = split_model(model, 8)
    assert split.at == ["backbone.frozen"]
    assert_trains_alike(model, split, 8)


UNSPLITTABLE: dict[str, tuple[type[_Whole], str]] = {
    "what trains takes the pictures": (_TakesPictures, "takes the pictures themselves"),
    "what trains takes a value of the whole batch": (_TakesTheirMean, "takes mean, which has no row for each"),
    "its way depends on the pictures": (_Branches, "torch.fx cannot trace it"),
    "pictures depend on each other": (_LooksAtOthers, "depend on the others in its batch"),
    "the frozen part is random": (_IsRandom, "do not compute what the whole does"),
    "the frozen part is random in training": (_DropsBefore, "another in training than in evaluation"),
    "what trains comes first": (_TrainsFirst, "takes the pictures themselves|nothing that is frozen precedes"),
    "it has its own loss": (_HasItsOwnLoss, "its own loss term needs the whole forward pass"),
}


@pytest.mark.parametrize("why", UNSPLITTABLE)
def test_a_model_is_not_split_where(why: str) -> None:
    kind, says = UNSPLITTABLE[why]
    torch.manual_seed(0)
    model = Classifier(kind(), nn.Linear(8, 2))
    model.backbone.get_submodule("frozen").requires_grad_(False)
    with pytest.raises(CannotSplitError, match=says):
        split_model(model, 8)


def test_a_model_of_which_everything_trains_is_not_split() -> None:
    with pytest.raises(CannotSplitError, match="everything trains"):
        split_model(Classifier(_Whole(), nn.Linear(8, 2)), 8)


def by_hand(backbone: nn.Module) -> tuple[nn.Module, nn.Module]:
    return nn.Sequential(nn.Flatten(), backbone.get_submodule("frozen")), backbone.get_submodule("trained")


def test_a_plugin_may_split_its_model_by_hand() -> None:
    model = Classifier(_Branches(), nn.Linear(8, 2))
    model.backbone.get_submodule("frozen").requires_grad_(False)
    # Right for pictures whose mean is positive, as those are that it is tried on (seed 0): tested to be so.
    if torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)).mean() <= 0:
        pytest.skip("the pictures to try on have another mean")
    split = split_model(model, 8, by_hand)
    assert split.found_by == "plugin"
    assert torch.equal(split.rest(*split.prefix(torch.ones(2, 3, 8, 8))), model(torch.ones(2, 3, 8, 8)))


def test_a_wrong_split_by_hand_is_found_out() -> None:
    model = Classifier(_Whole(), nn.Linear(8, 2))
    model.backbone.get_submodule("frozen").requires_grad_(False)
    with pytest.raises(CannotSplitError, match="do not compute what the whole does"):
        split_model(model, 8, lambda backbone: (by_hand(backbone)[0], nn.Identity()))
    with pytest.raises(CannotSplitError, match="has layers that train"):
        split_model(model, 8, lambda backbone: (backbone, nn.Identity()))


# Features as batches.


def batches_of(digits: Stored, protocol: Protocol, model: Classifier, part: str = "train") -> Batches:
    prepare = preparation(model.backbone, protocol.data.image_size)
    return Batches(digits, subsets(digits, protocol)[part], prepare, protocol.train.batch_size, CPU)


@pytest.fixture
def flips(tiny_protocol: Callable[..., Protocol]) -> Protocol:
    """Last-block training of the tiny model on pictures that are flipped."""
    return tiny_protocol("augmentation.flip=true", "augmentation.crop=0", "train.what=last-block")


def both(pictures: Batches) -> list[Iterator[Batch]]:
    """As they are, and flipped."""
    return [pictures.in_order(flipped=flipped) for flipped in (False, True)]


SHOWN = {
    "as they are": ("flip=false", "crop=0"),
    "flipped": ("flip=true", "crop=0"),
    "in three views": (
        "flip=true", "crop=0", "resized_crop=0.4", "erase=0.5", "rand_augment=2", "color_jitter=0.3", "views=3",
    ),
    "in two shifts": ("flip=false", "crop=0.2", "views=2"),
}  # fmt: skip


@pytest.mark.parametrize("how", SHOWN)
def test_features_come_in_the_order_and_in_the_views_of_the_pictures(
    registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol], how: str
) -> None:
    protocol = tiny_protocol(*(f"augmentation.{setting}" for setting in SHOWN[how]))
    model = classifier(registry, "tiny", 8).eval()
    pictures = batches_of(digits, protocol, model)
    prefix = split_model(model, 8).prefix
    cached = extract(prefix, pictures, fixed_views(pictures, protocol.augmentation, 3), "fp32", half=False).batches
    assert (len(cached), cached.steps, cached.batch_size) == (len(pictures), pictures.steps, pictures.batch_size)
    for epoch in range(2):
        pairs = zip(
            pictures.shuffled(3, epoch, protocol.augmentation),
            cached.shuffled(3, epoch, protocol.augmentation),
            strict=True,
        )
        for (images, labels), (found, same_labels) in pairs:
            assert torch.equal(labels, same_labels)
            assert torch.allclose(prefix(images)[0], found[0], atol=1e-5)
    first = fixed_views(pictures, protocol.augmentation, 3)[0]
    for (images, labels), (found, same_labels) in zip(first, cached.in_order(), strict=True):
        assert torch.equal(labels, same_labels)
        assert torch.allclose(prefix(images)[0], found[0], atol=1e-5)


def test_features_keep_their_memory_format(registry: Registry, digits: Stored, flips: Protocol) -> None:
    model = classifier(registry, "tiny", 8).eval()
    pictures = batches_of(digits, flips, model)
    cached = extract(split_model(model, 8).prefix, pictures, both(pictures), "fp32", half=False).batches
    (found,), _ = next(cached.in_order())
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float16), ("bf16", torch.bfloat16)])
def test_half_precision_takes_half_the_bytes(
    registry: Registry, digits: Stored, flips: Protocol, precision: str, dtype: torch.dtype
) -> None:
    model = classifier(registry, "tiny", 8).eval()
    pictures = batches_of(digits, flips, model)
    prefix = lambda images: (images.float(),)  # noqa: E731 — full precision, also under autocast
    whole, half = (extract(prefix, pictures, both(pictures), precision, half) for half in (False, True))
    assert half.bytes * 2 == whole.bytes == 2 * len(pictures) * 3 * 8 * 8 * 4
    assert half.dtypes == [str(dtype).removeprefix("torch.")]
    (one,), _ = next(whole.batches.in_order())
    (other,), _ = next(half.batches.in_order())
    assert other.dtype == torch.float32
    assert torch.equal(one.to(dtype).float(), other)


def test_features_beyond_the_range_of_half_precision_are_not_cut_off(
    registry: Registry, digits: Stored, flips: Protocol
) -> None:
    pictures = batches_of(digits, flips, classifier(registry, "tiny", 8))
    with pytest.raises(CannotSplitError, match="exceed the range"):
        extract(lambda images: (images * 1e6,), pictures, [pictures.in_order()], "fp32", half=True)


def test_features_that_exceed_the_budget_go_to_a_file_that_nobody_has_to_remove(
    registry: Registry, digits: Stored, flips: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    model = classifier(registry, "tiny", 8).eval()
    pictures, prefix = batches_of(digits, flips, model), split_model(model, 8).prefix
    in_memory, in_file = (extract(prefix, pictures, both(pictures), "fp32", False, memory) for memory in (None, 0))
    assert (in_memory.kept_in, in_file.kept_in) == ("memory", "file")
    pairs = zip(in_memory.batches.in_order(), in_file.batches.in_order(), strict=True)
    assert all(torch.equal(one[0], other[0]) for (one, _), (other, _) in pairs)
    assert list((tmp_path / "features").iterdir()) == []


def test_the_budget_is_half_of_what_memory_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    free = namedtuple("free", "available")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free(800))
    assert allocate([(100,)], [torch.float32], CPU, None)[1] == "memory"
    assert allocate([(101,)], [torch.float32], CPU, None)[1] == "file"


def test_a_disk_without_room_is_not_filled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(features.shutil, "disk_usage", lambda folder: usage(1000))
    with pytest.raises(CannotSplitError, match=r"its features take 4,000 bytes; .* has 1,000 free"):
        allocate([(1000,)], [torch.float32], CPU, 0)


# With and without: the same trial.


@pytest.fixture
def two_ways(
    registry: Registry, digits: Stored, tiny_plugins: Path, tmp_path: Path
) -> Callable[..., tuple[Record, Record]]:
    """The records of one trial with cached features, and without."""

    def run(protocol: Protocol, name: str = "tiny:dropout=0.5") -> tuple[Record, Record]:
        spec = TrialSpec(
            registry.model(name).name,
            3,
            protocol,
            digits,
            tmp_path / "with",
            Place(device="cpu", plugins=(tiny_plugins,), working_directory=tmp_path),
            way=BESIDE,
        )
        other = replace(spec, folder=tmp_path / "without", options=RunOptions(frozen_prefix=False))
        return run_trial(spec), run_trial(other)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("shown", [["flip=true"], ["flip=false"], ["resized_crop=0.5", "erase=0.3", "views=2"]])
@pytest.mark.parametrize("what", ["last-block", "head"])
def test_the_same_accuracies_with_cached_features_as_without(
    two_ways: Callable[..., tuple[Record, Record]], tiny_protocol: Callable[..., Protocol], shown: list[str], what: str
) -> None:
    """Losses agree within 1e-4: the arithmetic is the same, but sums over a batch may be rounded in another order."""
    protocol = tiny_protocol(
        "augmentation.crop=0", *(f"augmentation.{setting}" for setting in shown), f"train.what={what}",
        "head.hidden=[16]", "head.dropout=0.5",
    )  # fmt: skip
    cached, plain = two_ways(protocol)
    assert cached.status == plain.status == "ok"
    assert cached.training is not None and plain.training is not None
    assert cached.training.frozen_prefix is not None and cached.training.frozen_prefix["used"]
    assert plain.training.frozen_prefix == {"used": False, "why": "switched off by --no-frozen-prefix"}
    one, other = cached.training.history, plain.training.history
    assert one.val_top1 == other.val_top1
    assert one.train_top1 == other.train_top1
    assert one.train_loss == pytest.approx(other.train_loss, abs=1e-4)
    assert one.val_loss == pytest.approx(other.val_loss, abs=1e-4)
    assert len(set(one.train_loss)) == 3
    assert cached.accuracy is not None and plain.accuracy is not None
    assert cached.accuracy.test_top1 == plain.accuracy.test_top1


@pytest.mark.slow
def test_real_models_too_give_the_same_with_cached_features(
    two_ways: Callable[..., tuple[Record, Record]], tiny_protocol: Callable[..., Protocol]
) -> None:
    protocol = tiny_protocol(
        "augmentation.flip=true",
        "augmentation.crop=0",
        "train.what=last-block",
        "train.epochs=2",
        "data.image_size=32",
        "train.limit=64",
        "data.test_limit=32",
        "data.validation=64",
    )
    cached, plain = two_ways(protocol, "vit_tiny")
    assert cached.training is not None and plain.training is not None
    assert cached.training.frozen_prefix is not None and cached.training.frozen_prefix["used"]
    assert cached.training.history.val_top1 == plain.training.history.val_top1
    assert cached.training.history.train_loss == pytest.approx(plain.training.history.train_loss, abs=1e-4)


@pytest.mark.slow
def test_the_record_counts_the_extraction_and_says_what_was_kept(
    two_ways: Callable[..., tuple[Record, Record]], flips: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "extract", lambda *args: replace(extract(*args), seconds=1000.0))
    record, plain = two_ways(flips)
    assert record.training is not None and plain.training is not None
    said = record.training.frozen_prefix
    assert said is not None
    assert (said["found_by"], said["views"], said["kept_in"]) == ("torch.fx", 2, "memory")
    assert said["at"] == ["backbone.early_dropout"]
    pictures = 2 * record.data.train + record.data.val
    assert said["bytes"] == pictures * 8 * 4 * 4 * 4  # 8 channels of 4 × 4, float32
    # Two extractions, said to have taken a thousand seconds each: much more than everything else.
    assert said["seconds"] == 2000
    assert record.training.seconds > 2000 and record.training.seconds_to_best > 2000
    assert sum(record.training.epoch_seconds) < 1000
    # What a training step of the whole model needs is measured as ever.
    assert record.efficiency is not None and plain.efficiency is not None
    assert record.efficiency.memory is not None and plain.efficiency.memory is not None
    assert record.efficiency.memory.train_peak == pytest.approx(plain.efficiency.memory.train_peak, rel=0.05)


ANEW = "shows each epoch other pictures; augmentation.views would fix their number"
WHY_NOT = {
    "augmentation.crop=0.1": f"the crop {ANEW}",
    "augmentation.erase=0.5": f"the augmentation {ANEW}",
    "augmentation.mixup=0.2": "what is mixed with a picture is another one in each epoch",
    "augmentation.views=9": "so few epochs do not repay it",
    "train.what=full": "everything trains",
    "train.epochs=1": "so few epochs do not repay it",
}


@pytest.mark.slow
@pytest.mark.parametrize("setting", WHY_NOT)
def test_a_trial_that_takes_the_ordinary_way_says_why(
    registry: Registry,
    digits: Stored,
    tiny_plugins: Path,
    tmp_path: Path,
    tiny_protocol: Callable[..., Protocol],
    setting: str,
) -> None:
    settings = ["augmentation.flip=true", "augmentation.crop=0", "train.what=last-block", setting]
    spec = TrialSpec(
        "tiny",
        0,
        tiny_protocol(*settings),
        digits,
        tmp_path,
        Place(device="cpu", plugins=(tiny_plugins,), working_directory=tmp_path),
        way=BESIDE,
    )
    record = run_trial(spec)
    assert record.status == "ok" and record.training is not None
    assert record.training.frozen_prefix == {"used": False, "why": WHY_NOT[setting]}


@pytest.mark.slow
def test_a_model_that_cannot_be_split_trains_all_the_same(digits: Stored, flips: Protocol, tmp_path: Path) -> None:
    (tmp_path / "branches.py").write_text(BRANCHES)
    spec = TrialSpec(
        "branches",
        0,
        flips,
        digits,
        tmp_path / "results",
        Place(device="cpu", plugins=(tmp_path,), working_directory=tmp_path),
        way=BESIDE,
    )
    record = run_trial(spec)
    assert record.status == "ok" and record.training is not None
    said = record.training.frozen_prefix
    assert said is not None and not said["used"] and "torch.fx cannot trace it" in said["why"]


@pytest.mark.slow
def test_a_plugins_own_split_is_used(digits: Stored, flips: Protocol, tmp_path: Path) -> None:
    (tmp_path / "branches.py").write_text(BRANCHES.replace('source=""', 'source="", split=split'))
    assert load_plugins([tmp_path]).model("branches").spec.split is not None
    spec = TrialSpec(
        "branches",
        0,
        flips,
        digits,
        tmp_path / "results",
        Place(device="cpu", plugins=(tmp_path,), working_directory=tmp_path),
        way=BESIDE,
    )
    record = run_trial(spec)
    assert record.training is not None and record.training.frozen_prefix is not None
    assert (record.training.frozen_prefix["used"], record.training.frozen_prefix["found_by"]) == (True, "plugin")


BRANCHES = """
from torch import nn
from bench import ModelSpec, hookimpl


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.block = nn.Linear(16, 8)

    def forward(self, images):
        features = self.stem(images)
        return self.block(features if bool((features >= 0).all()) else features.relu())


def build(*, num_classes, image_size, pretrained):
    return Branches()


def split(backbone):
    return backbone.stem, backbone.block


@hookimpl
def bench_models():
    yield ModelSpec("branches", build, family="cnn", last_block="block", source="")
"""


@pytest.mark.slow
def test_a_record_stands_only_for_trials_that_are_run_the_same_way(
    registry: Registry, digits: Stored, tiny_plugins: Path, tmp_path: Path, flips: Protocol
) -> None:
    spec = TrialSpec(
        "tiny", 0, flips, digits, tmp_path, Place(device="cpu", plugins=(tiny_plugins,), working_directory=tmp_path)
    )
    run_trial(spec)

    def is_recorded(options: RunOptions) -> bool:
        way = Way("cpu", torch.get_num_threads(), options.compile, options.frozen_prefix)
        found, _ = recorded(replace(spec, options=options, way=way), registry.model("tiny"))
        return found is not None

    assert is_recorded(RunOptions())
    assert is_recorded(RunOptions(feature_memory=5))
    assert not is_recorded(RunOptions(frozen_prefix=False))
    assert not is_recorded(RunOptions(compile=True))


def test_a_compiled_model_is_what_trains(
    registry: Registry, digits: Stored, flips: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a stand-in for torch.compile, which takes half a minute on a CPU."""
    compiled: list[Any] = []

    def compile_(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        compiled.append(forward)
        return forward

    monkeypatch.setattr(torch, "compile", compile_)
    model = classifier(registry, "tiny", 8)
    parts = [batches_of(digits, flips, model, part) for part in ("train", "val")]
    for use_features in (True, False):
        made = make_inputs(model, *parts, flips, "fp32", RunOptions(use_features, compile=True))
        assert isinstance(made.train, FeatureBatches) == use_features
        trainer = make_trainer(model, flips, made.train.steps, "fp32", CPU, made.forward)
        assert trainer.forward is compiled[-1]
        assert evaluate(model, made.val, "fp32", CPU, made.forward).loss > 0
    assert len(compiled) == 2

"""An extension changes any model that it fits, keeps what was there, and is refused in a line where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import RequestError
from bench.errors import UnfitError
from bench.models.classifier import Classifier, build_classifier
from bench.models.extensions import extend
from bench.models.freezing import freeze
from bench.plugins import Registry, load_plugins
from bench.protocol import load_protocol

BUNDLED = {
    "token_learner": ":tokens=3",
    "token_learner with fuser": ":tokens=3,fuser=true,version=1.0",
    "flexible_downsampling": ":grids=[4,2]",
    "token_merging": ":r=2",
}
# Class token, distilled, none at all, registers, layer scale, a norm before the blocks, a hybrid, another pooling.
TIMM = (
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch32_224",
    "vit_base_patch32_clip_224",
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_medium_patch16_gap_256",
    "vit_base_patch16_siglip_gap_224",
    "vit_base_patch16_siglip_224",
    "vit_tiny_r_s16_p8_224",
)
PATCH = {"vit_small_patch32_224": 32, "vit_base_patch32_clip_224": 32, "vit_tiny_r_s16_p8_224": 32} | {
    name: 14 for name in TIMM if "patch14" in name
}


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("grid", [4, 6])
@pytest.mark.parametrize("extension", BUNDLED)
def test_the_bundled_extensions_change_any_vit_of_timms(
    extension: str, grid: int, name: str, registry: Registry
) -> None:
    size = grid * PATCH.get(name, 16)
    spec = registry.model(f"timm/{name}+{extension.partition(' ')[0]}{BUNDLED[extension]}")
    torch.manual_seed(0)
    with torch.device("meta"):
        base = spec.spec.build(num_classes=2, image_size=size, pretrained=False, img_size=size, depth=4)
        names = {key: tensor.shape for key, tensor in base.state_dict().items()}
        extended = extend(base, spec, size)
        features = extended.backbone(torch.zeros(2, 3, size, size))
        assert features.shape == (2, base.num_features)
    after = {key: tensor.shape for key, tensor in extended.backbone.state_dict().items()}
    assert {key: after[key] for key in names} == names
    assert bool(extended.added) == (extension != "token_merging")
    assert all(any(key.startswith(f"{one}.") for one in extended.added) for key in after.keys() - names.keys())


@pytest.mark.parametrize("name", ["timm/vit_medium_patch16_gap_256", "timm/vit_base_patch16_siglip_224:depth=2"])
def test_merged_tokens_go_through_every_pooling(name: str, registry: Registry) -> None:
    model = registry.model(f"{name}+token_merging:r=2")
    backbone = model.spec.build(num_classes=2, image_size=64, pretrained=False, img_size=64, depth=2)
    extended = extend(backbone, model, 64).backbone.eval()
    with torch.no_grad():
        assert torch.isfinite(extended(torch.randn(2, 3, 64, 64))).all()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("densenet121+token_learner", "token_learner: DenseNet has no sequence of blocks"),
        ("vgg19+token_merging", "token_merging: VGG has no sequence of blocks"),
        ("timm/swin_tiny_patch4_window7_224+token_merging", "SwinTransformer has no sequence of blocks"),
        ("timm/cait_xxs24_224+token_learner", "Cait is no VisionTransformer of timm's"),
        ("vit_tiny+token_merging:r=1+token_learner:tokens=2", "its tokens are changed already"),
        ("vit_tiny+token_learner:tokens=2+token_merging", "its tokens are changed already by token_learner"),
        ("vit_tiny+token_learner:fuser=true,tokens=2+flexible_downsampling", "its tokens are changed already"),
    ],
)
def test_a_model_that_it_does_not_fit_is_refused_with_the_reason(name: str, why: str, registry: Registry) -> None:
    size = 224 if "224" in name else 32
    protocol = load_protocol("quick", ["model.options={}", f"data.image_size={size}"])
    with torch.device("meta"), pytest.raises(UnfitError) as refused:
        build_classifier(registry.model(name), protocol, 10)
    assert str(refused.value).startswith(f"{name}: ") and why in str(refused.value)


MINE = """
from bench import ExtensionSpec, RequestError, hookimpl


def halve(backbone, *, image_size, share=0.5):
    from torch import nn
    backbone.block[0].narrow = nn.Linear(3, 3)
    backbone.block.scale = nn.Parameter(__import__("torch").ones(2))
    backbone.resolved_options = {"kept": share}
    return backbone


def fits(backbone):
    return "" if hasattr(backbone, "block") else f"{type(backbone).__name__} has no block"


def broken(backbone, *, image_size, how="raise"):
    from torch import nn
    match how:
        case "raise":
            raise ZeroDivisionError("by hand")
        case "nothing":
            return None
        case "width":
            backbone.grid = nn.AdaptiveAvgPool2d(2)
        case "rename":
            backbone.other, backbone.block = backbone.block, nn.Identity()
        case "shape":
            backbone.block[0].weight = nn.Parameter(backbone.block[0].weight[:, :4])
        case "refuse":
            raise RequestError("broken: does not want to")
        case "head":
            backbone.features = nn.Identity()
    return backbone


def no_answer(backbone):
    raise LookupError("no idea")


@hookimpl
def bench_extensions():
    yield ExtensionSpec("halve", halve, fits, source="the tests")
    yield ExtensionSpec("broken", broken)
    yield ExtensionSpec("unsure", broken, no_answer)
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, tiny_plugins: Path) -> Registry:
    folder = tmp_path_factory.mktemp("extensions")
    (folder / "mine.py").write_text(MINE)
    return load_plugins([tiny_plugins, folder])


@pytest.fixture
def built(mine: Registry) -> Callable[..., Classifier]:
    def build(name: str, what: str = "full") -> Classifier:
        model, protocol = mine.model(name), load_protocol("quick", ["data.image_size=8", f"train.what={what}"])
        classifier = build_classifier(model, protocol, 10)
        freeze(classifier, what, model.last_block, name)
        return classifier

    return build


def test_a_name_says_base_and_extensions_each_with_its_options(mine: Registry) -> None:
    model = mine.model("tiny:width=4,dropout=0.5+halve:share=1e+2+broken:how=nothing")
    assert model.name == "tiny:dropout=0.5,width=4+halve:share=100.0+broken:how=nothing"
    assert (model.base, model.options) == ("tiny:dropout=0.5,width=4", {"dropout": 0.5, "width": 4})
    assert [one.name for one in model.extensions] == ["halve:share=100.0", "broken:how=nothing"]
    assert [one.options for one in model.extensions] == [{"share": 100.0}, {"how": "nothing"}]
    assert [plugin.name for plugin in model.plugins] == ["tiny_model", "mine", "mine"]
    assert model.code != mine.model("tiny").code != mine.model("tiny+halve").code


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiny+halv", r"unknown extension 'halv': did you mean halve\?"),
        ("tiny+halve:shape=1", r"halve has no option 'shape': did you mean share\? it has share"),
        ("tiny+halve:image_size=1", "image_size comes from the protocol"),
        ("tiny+halve+halve:share=1", "the same extension twice"),
        ("halve", r"halve is an extension: write MODEL\+halve"),
        ("tiny+", "unknown model 'tiny\\+'"),
        ("+halve", "unknown model ''"),
        ("tiny+halve:share", r"write options as NAME:key=value"),
        ("token_learner_deit_tiny", r"is now deit_tiny_distilled\+token_learner"),
        ("fdvit_deit_small", r"is now deit_small_distilled\+flexible_downsampling"),
    ],
)
def test_a_wrong_name_is_refused_in_a_line_that_helps(name: str, says: str, mine: Registry) -> None:
    with pytest.raises(RequestError, match=says) as refused:
        mine.model(name)
    assert "\n" not in str(refused.value)


def test_what_it_adds_trains_and_nothing_else_that_is_frozen(built: Callable[..., Classifier]) -> None:
    model = built("tiny+halve", "head")
    trains = {name for name, one in model.backbone.named_parameters() if one.requires_grad}
    assert trains == {"block.0.narrow.weight", "block.0.narrow.bias", "block.scale"}
    assert model.new_layers == ("block.0.narrow", "block.scale")
    assert model.extension_options == ({"kept": 0.5},)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", r"extension broken \(.*mine\.py\): ZeroDivisionError: by hand \(line \d+\)"),
        ("nothing", r"TypeError: apply gave NoneType, not the changed module"),
        ("width", r"ValueError: it changes the features from 256 to 64 values"),
        ("rename", r"ValueError: it removes or renames block\.0\.weight: names of what was there must stay"),
        ("shape", r"it changes the shape of block\.0\.weight from \(16, 8, 3, 3\) to \(16, 4, 3, 3\)"),
        ("head", r"must return a module from images to features \(N, D\)"),
    ],
)
def test_an_extension_that_breaks_the_contract_is_refused_with_its_place(
    how: str, says: str, built: Callable[..., Classifier]
) -> None:
    with pytest.raises(RequestError, match=says) as refused:
        built(f"tiny+broken:how={how}")
    assert "\n" not in str(refused.value) and not isinstance(refused.value, UnfitError)


def test_an_extensions_own_words_and_a_fits_that_fails(built: Callable[..., Classifier], mine: Registry) -> None:
    with pytest.raises(UnfitError, match=r"^tiny\+broken:how=refuse: broken: does not want to$"):
        built("tiny+broken:how=refuse")
    with pytest.raises(RequestError, match=r"extension unsure \(.*LookupError: no idea"):
        built("tiny+unsure")
    with pytest.raises(UnfitError, match=r"halve: DenseNet has no block"), torch.device("meta"):
        build_classifier(mine.model("densenet121+halve"), load_protocol("quick"), 10)


def test_an_extended_model_starts_from_its_bases_weights(registry: Registry, tmp_path: Path) -> None:
    import timm

    from bench.models.weights.load import file_digest
    from bench.request import Weights

    torch.manual_seed(3)
    state: Any = timm.create_model("vit_tiny_patch16_224").state_dict()
    torch.save(state, tmp_path / "vit.pt")
    file = Weights(tmp_path / "vit.pt", file_digest(tmp_path / "vit.pt"), "file", through_timm=True)
    protocol = load_protocol("cifar10")
    for extension in ("token_learner", "flexible_downsampling", "token_merging"):
        own = build_classifier(registry.model(f"vit_tiny+{extension}"), protocol, 10, file).backbone.state_dict()
        assert all(torch.equal(own[key], state[key]) for key in own if key in state)
        assert len(own.keys() & state.keys()) == len(state) - 2

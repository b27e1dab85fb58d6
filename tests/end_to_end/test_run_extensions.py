"""A stranger's extension: dropped into plugins/, run with whatever it fits, and read in the table what it changes."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Bench = Callable[..., "subprocess.CompletedProcess[str]"]

# Fifteen lines, as the README has it.
HALVE = """from bench import ExtensionSpec, hookimpl


def halve(backbone, *, image_size, keep=0.5):
    blocks = list(backbone.blocks)[int(len(backbone.blocks) * keep):]
    for block in blocks:
        block.mlp.forward = lambda tokens: 0 * tokens
    return backbone


def fits(backbone):
    return "" if hasattr(backbone, "blocks") else f"{type(backbone).__name__} has no blocks"


@hookimpl
def bench_extensions():
    yield ExtensionSpec("halve", halve, fits, changes="any model with blocks")
"""
MODELS = """from bench import ModelSpec, hookimpl


def build_vit(*, num_classes, image_size, pretrained, patch_size=4):
    from timm.models.vision_transformer import VisionTransformer
    sizes = {"img_size": image_size, "patch_size": patch_size, "embed_dim": 24, "num_heads": 2, "depth": 4}
    return VisionTransformer(**sizes, num_classes=0)


def build_cnn(*, num_classes, image_size, pretrained):
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())


@hookimpl
def bench_models():
    yield ModelSpec("vit", build_vit, family="transformer", last_block="blocks.3")
    yield ModelSpec("cnn", build_cnn, family="cnn", last_block="0")
"""
BAD = """from bench import ExtensionSpec, hookimpl


def bad(backbone, *, image_size, how="raise"):
    from torch import nn
    if how == "none":
        return None
    if how == "width":
        backbone.fc_norm = nn.Linear(24, 2)
        return backbone
    raise ZeroDivisionError("here")


@hookimpl
def bench_extensions():
    yield ExtensionSpec("bad", bad)
"""
SMALL = (
    "--protocol", "quick", "--set", "data.image_size=16", "--set", "model.options={}", "--set", "train.limit=64",
    "--set", "train.epochs=1", "--set", "data.test_limit=60", "--set", "name=small", "--no-timing",
    "--jobs", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "halve.py").write_text(HALVE)
    (folder / "plugins" / "bad.py").write_text(BAD)
    (folder / "plugins" / "models.py").write_text(MODELS)
    return folder


@pytest.fixture(scope="module")
def run(place: Path, bench: Bench) -> subprocess.CompletedProcess[str]:
    asked = ("vit", "cnn", "--extensions", "halve", "token_merging:r=1")
    return bench("run", *asked, *SMALL, in_folder=place)


def test_extensions_are_run_where_they_fit_and_a_line_says_where_not(
    place: Path, run: subprocess.CompletedProcess[str], bench: Bench
) -> None:
    assert run.returncode == 0, run.stderr
    assert "left out: halve does not fit cnn (Sequential has no blocks)" in run.stderr
    assert "left out: token_merging:r=1 does not fit cnn (Sequential has no sequence of blocks)" in run.stderr
    assert "What each extension changes:" in run.stdout and "vit+halve" in run.stdout
    small = place / "results" / "small"
    names = ["cnn", *(f"vit{end}" for end in ("", "~halve", "~token_merging@r=1"))]
    assert sorted(one.parents[1].name for one in small.glob("*/seed0/record.json")) == sorted(names)
    model = json.loads((small / names[3] / "seed0" / "record.json").read_bytes())["model"]
    assert (model["name"], model["base"]) == ("vit+token_merging:r=1", "vit")
    (extension,) = model["extensions"]
    assert extension["options"] == {"r": 1, "schedule": "constant"} and extension["plugin"] == "token_merging"
    assert extension["resolved_options"]["r"] == [1] * 4
    rows = list(csv.DictReader((small / "extensions.csv").open()))
    assert {row["model"].rpartition("+")[2] for row in rows} == {"halve", "token_merging:r=1"}
    assert all(0 < float(row["x_gmacs"]) < 1 for row in rows)
    again = bench("run", "vit+token_merging:r=1", *SMALL, in_folder=place)
    assert again.returncode == 0 and "already recorded in results/small: 1 of 1 trials" in again.stderr


def test_an_extended_model_is_a_model_for_every_command(
    place: Path, run: subprocess.CompletedProcess[str], bench: Bench
) -> None:
    listed = bench("extensions", in_folder=place)
    for name in ("halve", "token_learner", "flexible_downsampling", "token_merging"):
        assert name in listed.stdout
    assert {one["name"] for one in json.loads(bench("extensions", "--json", in_folder=place).stdout)} >= {"halve"}
    named = "vit+token_learner:tokens=3"
    shown = bench("models", "--trainable", named, "--set", "data.image_size=16", in_folder=place)
    assert shown.returncode == 0, shown.stderr
    assert "token_learner" in shown.stdout
    compared = bench("compare", "vit", "vit+halve", in_folder=place)
    assert compared.returncode == 0 and "vit+halve" in compared.stdout
    chosen = bench("recommend", "--max", "gmacs=1", in_folder=place)
    assert chosen.returncode == 0 and "vit+token_merging:r=1" in chosen.stdout
    counted = bench(
        "measure", "vit+token_merging:r=8", "--image-size", "16", "--only", "macs", "--json", in_folder=place
    )
    assert counted.returncode == 0, counted.stderr
    assert json.loads(counted.stdout)[0]["model"]["base"] == "vit"
    exported = bench("export", "--to", "all.csv", in_folder=place)
    assert exported.returncode == 0, exported.stderr
    assert {row["model.base"] for row in csv.DictReader((place / "all.csv").open())} >= {"vit"}
    plugins = json.loads(bench("plugins", "--json", in_folder=place).stdout)["plugins"]
    assert next(one for one in plugins if one["name"] == "halve")["extensions"] == ["halve"]


def test_an_extension_is_applied_to_a_trained_model(
    place: Path, run: subprocess.CompletedProcess[str], bench: Bench
) -> None:
    trial = "results/small/vit/seed0"
    done = bench("measure", trial, "--extension", "token_merging:r=1", "--no-timing", in_folder=place)
    assert done.returncode == 0, done.stderr
    assert "vit+token_merging:r=1" in done.stdout
    folder = place / trial / "applied" / "token_merging@r=1"
    record = json.loads((folder / "record.json").read_bytes())
    assert record["training"] is None and record["accuracy"]["test_top1"] >= 0
    assert record["model"]["weights"]["source"] == "trial"
    untouched = bench("measure", trial, "--extension", "token_merging:r=[0]", "--no-timing", "--json", in_folder=place)
    (nothing,) = (one for one in json.loads(untouched.stdout) if one["model"].endswith("r=[0]"))
    assert nothing["accuracy"]["difference"] == 0 and nothing["ratios"]["gmacs"]["value"] == 1
    assert bench("report", "-q", in_folder=place).returncode == 0
    assert "with extensions applied after training" in (place / "results" / "small" / "README.md").read_text()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("vit+halv",), "unknown extension 'halv': did you mean halve?"),
        (("vit+halve:kep=1",), "halve has no option 'kep': did you mean keep?"),
        (("vit+halve+halve",), "the same extension twice"),
        (("cnn+halve",), "halve: Sequential has no blocks"),
        (("cnn", "--extensions", "halve"), "extension halve fits no model that is run: cnn"),
        (("--extensions", "halve", "vit"), "vit is a model, and no extension: name models before --extensions"),
        (("vit:patch_size=8", "--extensions", "token_learner"), "tokens=8 are not fewer than the"),
        (("token_learner_vit_tiny",), "token_learner_vit_tiny is now vit_tiny+token_learner"),
        (("vit+bad",), "extension bad ("),
        (("vit+bad:how=width",), "it changes the features from 24 to 2 values"),
        (("vit+bad:how=none",), "apply gave NoneType, not the changed module"),
    ],
)
def test_what_cannot_be_is_a_line_before_anything_trains(
    asked: tuple[str, ...], says: str, place: Path, bench: Bench
) -> None:
    done = bench("run", *asked, *SMALL, "--results", "elsewhere", in_folder=place)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("bench: ") and says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and not list((place / "elsewhere").rglob("record.json"))


def test_a_merging_model_trains_its_last_block_on_cached_features_as_it_does_without(place: Path, bench: Bench) -> None:
    """The frozen blocks merge tokens; what is cached holds them, and the sizes that they have come to."""
    asked = ("vit+token_merging:r=2", *SMALL, "--set", "train.what=last-block", "--set", "train.epochs=2")
    records = {}
    for cached in ("--frozen-prefix", "--no-frozen-prefix"):
        done = bench("run", *asked, cached, "--results", cached.strip("-"), in_folder=place)
        assert done.returncode == 0, done.stderr
        (file,) = (place / cached.strip("-")).glob("small*/*/seed0/record.json")
        records[cached] = json.loads(file.read_bytes())
    used, without = (one["training"] for one in records.values())
    assert (used["frozen_prefix"]["used"], without["frozen_prefix"]["used"]) == (True, False)
    assert used["history"]["train_loss"] == pytest.approx(without["history"]["train_loss"], rel=1e-3)
    assert records["--frozen-prefix"]["predictions_sha256"] and records["--frozen-prefix"]["status"] == "ok"

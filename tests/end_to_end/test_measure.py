"""`measure`, `profile` and `doctor`, as typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.plugins import load_plugins

SMALL = ["--image-size", "32", "--classes", "10", "--rounds", "6", "--train-batch", "4", "--batch", "1", "--batch", "4"]


@pytest.fixture(scope="module")
def measured(bench: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder in which a ViT, a timm model and a plugin that fails were measured in full, and what that printed."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "broken.py").write_text(
        "from bench import ModelSpec, hookimpl\n\n\n"
        "def build(*, num_classes, image_size, pretrained):\n    raise ArithmeticError('no model today')\n\n\n"
        "@hookimpl\ndef bench_models():\n    yield ModelSpec('broken', build, family='none')\n"
    )
    return folder, bench("measure", "vit_tiny", "broken", "timm/resnet18", *SMALL, "--json", in_folder=folder)


def test_one_that_fails_stops_no_other_and_its_status_says_so(measured: tuple[Path, Any]) -> None:
    _, done = measured
    vit, broken, resnet = json.loads(done.stdout)
    assert done.returncode == 1
    assert (vit["status"], broken["status"], resnet["status"]) == ("ok", "error", "ok")
    assert broken["error"] == {"type": "ArithmeticError", "message": "no model today"}


def test_every_quantity_is_measured_or_null(measured: tuple[Path, Any]) -> None:
    _, done = measured
    vit, broken, resnet = json.loads(done.stdout)
    for found in (vit["efficiency"], resnet["efficiency"]):
        assert found["flops"] == 2 * found["macs"] > 0
        assert found["training_macs"] > 2 * found["macs"]
        assert found["macs_cross_check"]["agrees"]
        assert sum(found["memory"]["train_breakdown"].values()) == pytest.approx(
            found["memory"]["train_peak"], rel=0.03
        )
        assert set(found["memory"]["inference_peak"]) == {"1", "4"}
        low, high = found["latency_ms"]["ci95"]
        assert low <= found["latency_ms"]["p50"] <= high
        assert found["latency_ms"]["interleaved_with"] == 1
        assert [entry["batch"] for entry in found["throughput"]] == [1, 4]
        assert sum(found["train_step"]["phases"].values()) > 0
        assert len(found["profile"]["operators"]) == 10
    assert set(broken["efficiency"].values()) == {None}
    # ViT-Tiny at 32 pixels, by hand: blocks, last norm, patches, positions, class token, ten classes.
    assert vit["model"]["params"] == 12 * 444_864 + 384 + 147_648 + 5 * 192 + 192 + 1_930


def test_attention_s_products_are_told_from_linear_layers(measured: tuple[Path, Any]) -> None:
    _, done = measured
    by_operator = json.loads(done.stdout)[0]["efficiency"]["macs_by_operator"]
    # 12 blocks, 3 heads of 64, 4 patches and the class token: two products of 5 × 5 × 64 each.
    assert by_operator["scaled_dot_product_attention"] == 12 * 3 * 2 * 5 * 5 * 64


def test_the_measurements_are_kept_with_a_table(measured: tuple[Path, Any]) -> None:
    folder, done = measured
    kept = folder / "results" / "measure"
    assert (
        json.loads((kept / "vit_tiny" / "32px-fp32-channels-last" / "measurement.json").read_text())
        == json.loads(done.stdout)[0]
    )
    assert list((kept / "timm+resnet18" / "32px-fp32-channels-last").glob("*.pt.trace.json.gz"))
    page = (kept / "README.md").read_text()
    assert re.search(r"threads?, fp32, torch", page) or "cuda" in page
    assert "no model today" in page


def test_a_single_quantity_leaves_the_others_null(bench: Callable[..., Any], tmp_path: Path) -> None:
    done = bench("measure", "vit_tiny", "--only", "macs", "--json", in_folder=tmp_path)
    (found,) = json.loads(done.stdout)
    known = {name for name, value in found["efficiency"].items() if value is not None}
    assert found["efficiency"]["macs"] == pytest.approx(1.26e9, rel=0.01)
    assert known == {
        "macs", "flops", "training_macs", "activations", "macs_by_operator", "macs_by_module",
        "uncounted_operators", "macs_cross_check",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing_like_it"], "unknown model"),
        ([], "name a model"),
        (["vit_tiny", "--only", "latencies"], "did you mean latency"),
        (["vit_tiny", "--precision", "fp8"], "unknown precision"),
        (["vit_tiny", "--image-size", "33"], "--image-size"),
        (["timm/no_such_model"], "unknown timm model"),
        (["vit_tiny:depth=3"], "no option 'depth'"),
    ],
)
def test_a_wrong_request_gets_one_line(
    arguments: list[str], says: str, bench: Callable[..., Any], tmp_path: Path
) -> None:
    done = bench("measure", *arguments, in_folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_profile_prints_where_the_time_goes_and_how_to_look(bench: Callable[..., Any], tmp_path: Path) -> None:
    done = bench("profile", "vit_tiny", "--image-size", "32", "--train-batch", "4", in_folder=tmp_path)
    assert done.returncode == 0
    for part in ("data", "forward", "backward", "optimizer", "device busy", "tensorboard --logdir results"):
        assert part in done.stdout


def test_doctor_shows_the_machine(bench: Callable[..., Any], tmp_path: Path) -> None:
    found = json.loads(bench("doctor", "--json", in_folder=tmp_path).stdout)
    assert found["environment"]["torch"]
    assert all(set(finding) == {"missing", "affects", "fix"} for finding in found["missing"])


def test_every_quantity_can_be_asked_for(bench: Callable[..., Any], tmp_path: Path) -> None:
    helped = bench("measure", "--help", in_folder=tmp_path).stdout
    assert all(quantity in helped for quantity in load_plugins().measurements)

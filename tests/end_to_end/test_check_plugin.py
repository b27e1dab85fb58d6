"""`check-plugin`: ticks for what is as the contract wants it, one line of advice for each cross, and the status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faulted import Bench, one_line

from bench import RequestError, testing

WRONG = '''
import torch
from torch import nn
from bench import DatasetSpec, ExtensionSpec, MeasureSpec, ModelSpec, Pictures, Quantity, Split, hookimpl


class Odd(nn.Module):
    """Draws in evaluation, never uses a layer, and looks at the whole batch."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(3, 8), nn.Linear(3, 8)

    def forward(self, images):
        means = images.mean((2, 3))
        return self.used(means - means.mean(0)) + torch.rand(1)


def odd(*, num_classes, image_size, pretrained):
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(torch.get_num_threads() + 1)
    return Odd()


def maps(*, num_classes, image_size, pretrained):
    return nn.Conv2d(3, 4, 3)


def small(*, num_classes, image_size, pretrained):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def nothing(backbone, *, image_size):
    return backbone


def load(*, location, image_size, cache):
    import numpy as np

    def split(count):
        return Split(np.random.randint(0, 256, (count, 8, 8, 3), dtype=np.uint8), [0] * count)

    return Pictures(("a", "b"), split(9), split(9))


@hookimpl
def bench_models():
    yield ModelSpec("odd", odd, "mlp")
    yield ModelSpec("maps", maps, "cnn")
    yield ModelSpec("early", small, "cnn", last_block="0")


@hookimpl
def bench_extensions():
    yield ExtensionSpec("nothing", nothing)


@hookimpl
def bench_datasets():
    yield DatasetSpec("unsteady", load)


@hookimpl
def bench_measurements():
    size = Quantity(key="my_size", label="size", about="a size", path="size", kind="count", better="lower")
    yield MeasureSpec("sizes", lambda subject: {"sise": 5}, (size,))
'''
# A part of each line of advice, by what it is about.
ADVICE = {
    ("model", "odd"): (
        "importing it imports torch: import it within the functions that use it",
        "two passes differ: draw no random numbers in evaluation",
        "no gradient reaches backbone.unused.weight",
        "it changes torch's number of threads",
        "a model with the same weights gives other logits",
    ),
    ("model", "maps"): ("build must return a module from images to features (N, D)",),
    ("model", "early"): ("nothing comes before 0: name a later module",),
    ("extension", "nothing"): ("gives the very same logits with it",),
    ("dataset", "unsteady"): (
        "differs from one load to the next",
        "train has no picture of b",
        "it has no `key`: every run decodes it again",
    ),
    ("measurement", "sizes"): ("my_size: at 'size' there is no number of vit_tiny",),
}


def crosses(found: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    return {
        (part["kind"], part["name"]): [one["said"] for one in part["findings"] if one["ok"] is False] for part in found
    }


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "wrong.py").write_text(WRONG)
    return tmp_path


def test_each_thing_that_is_not_as_the_contract_wants_it_has_a_line_of_advice(bench: Bench, wrong: Path) -> None:
    done = bench("check-plugin", "plugins/wrong.py", "--json", in_folder=wrong)
    assert done.returncode == 1, done.stderr
    found = crosses(json.loads(done.stdout))
    assert found.keys() == ADVICE.keys()
    for part, lines in ADVICE.items():
        for line in lines:
            assert any(line in said for said in found[part]), (part, line, found[part])


def test_a_sound_model_has_ticks_and_says_why_something_does_not_apply(bench: Bench, tmp_path: Path) -> None:
    assert bench("new-plugin", "mine", in_folder=tmp_path).returncode == 0
    done = bench("check-plugin", "mine", "-q", in_folder=tmp_path)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "model mine" and lines[-1] == "as the contract wants it"
    assert sum(line.startswith("  ✓ ") for line in lines) >= 8
    assert "  – its last block is there, and what comes before it is frozen: it names no last_block" in done.stdout


def test_what_is_not_there_or_cannot_be_loaded_is_said_in_one_line(bench: Bench, tmp_path: Path) -> None:
    done = bench("check-plugin", "vit_tin", in_folder=tmp_path)
    assert done.returncode == 2
    one_line(done, "unknown plugin 'vit_tin': did you mean vit_tiny or")
    (tmp_path / "broken.py").write_text("from bench import ModelSpec, hookimpl\n\n1 / 0\n")
    done = bench("check-plugin", "broken.py", in_folder=tmp_path)
    assert done.returncode == 2
    one_line(done, "broken.py is left out: ZeroDivisionError: division by zero (line 3)")


@pytest.mark.parametrize(
    "name",
    ["vit_tiny", "deit_tiny_distilled", "densenet121", "vgg19_bn", "efficientnet_lite0", "fdvit_ti", "token_learner",
     "token_merging", "flexible_downsampling", "digits", "macs", "latency"],
)  # fmt: skip
@pytest.mark.slow
def test_what_comes_with_bench_is_sound(name: str) -> None:
    testing.assert_sound(name)


def test_of_a_plugin_that_only_listens_it_is_said_that_a_run_shows_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "listens.py"
    file.write_text("from bench import hookimpl\n\n@hookimpl\ndef bench_event(event):\n    1 / 0\n")
    ((part, (loaded, tried)),) = testing.check_plugin(str(file)).items()
    assert (part.kind, part.name) == ("plugin", "listens")
    assert (loaded.ok, loaded.said) == (True, "bench_event")
    assert tried.ok is None and "the commands that call these hooks show the rest" in tried.said


def test_a_plugin_author_s_test_is_told_the_same(wrong: Path) -> None:
    with pytest.raises(AssertionError, match=r"model early: its last block is there.*: nothing comes before 0"):
        testing.assert_sound("early", plugins=[wrong / "plugins"])


def test_a_plugin_whose_only_model_is_left_out_is_not_called_sound(tmp_path: Path) -> None:
    file = tmp_path / "again.py"
    file.write_text(
        "from bench import ModelSpec, hookimpl\n\n"
        "def build(*, num_classes, image_size, pretrained): ...\n\n"
        '@hookimpl\ndef bench_models():\n    yield ModelSpec("vit_tiny", build, family="cnn")\n'
    )
    with pytest.raises(RequestError, match=r"vit_tiny of plugin .*again\.py is left out: .* has that name"):
        testing.check_plugin(str(file))

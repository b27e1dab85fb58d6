"""What cannot be carried out is answered in one line that says what to do, with status 2, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.device import choose_device

QUICK = ("--protocol", "quick")

# Arguments of `run`, and what the answer must say. In them, FOLDER is that of the test.
BAD: dict[str, tuple[list[str], list[str]]] = {
    # found before torch is imported
    "no model": ([], ["--all", "bench models"]),
    "an unknown model": (["vgg91", *QUICK], ["unknown model 'vgg91'", "did you mean vgg19", "bench models"]),
    "an unknown protocol": (["vgg19", "--protocol", "cifar"], ["unknown protocol 'cifar'", "did you mean cifar10"]),
    "a missing protocol file": (["vgg19", "--protocol", "no.toml"], ["no.toml: no such file"]),
    "a protocol that is no TOML": (["vgg19", "--protocol", "FOLDER/broken.toml"], ["broken.toml", "line 3"]),
    "a protocol without a part": (["vgg19", "--protocol", "FOLDER/part.toml"], ["part.toml", "data is missing"]),
    "an unknown setting": (["vgg19", *QUICK, "--set", "train.epoch=5"], ["train.epoch", "did you mean train.epochs"]),
    "a wrong value": (["vgg19", *QUICK, "--set", "train.epochs=0"], ["train.epochs = 0", "greater than or equal to 1"]),
    "a wrong word": (["vgg19", *QUICK, "--set", "train.what=all"], ["train.what = 'all'", "'last-block'"]),
    "a setting without a value": (["vgg19", *QUICK, "--set", "train.epochs"], ["--set train.epochs", "key=value"]),
    "an option that the model lacks": (
        ["vgg19:patch_size=4", *QUICK],
        ["vgg19 has no option 'patch_size'", "it has none"],
    ),
    "an option without a value": (["vit_tiny:patch_size", *QUICK], ["NAME:key=value"]),
    "a results folder below a file": (["vgg19", *QUICK, "--results", "FOLDER/file/x"], ["x cannot be written"]),
    "a missing plugin folder": (["vgg19", *QUICK, "--plugins", "FOLDER/none"], ["none does not exist"]),
    "an unknown executor": (["vgg19", *QUICK, "--executor", "locale"], ["unknown executor", "did you mean local"]),
    "an unknown option": (["vgg19", *QUICK, "--epochs", "5"], ["--epochs"]),
    "a seed that is no number": (["vgg19", *QUICK, "--seed", "one"], ["--seed", "integer"]),
    "a negative seed": (["vgg19", *QUICK, "--seed", "-1"], ["--seed", "equal to 0"]),
    # found by the process that checks
    "an unknown dataset": (["vgg19", *QUICK, "--data", "digit"], ["unknown dataset 'digit'", "did you mean digits"]),
    "a missing folder": (["vgg19", *QUICK, "--data", "folder:FOLDER/none"], ["none: no such folder"]),
    "an empty class": (["vgg19", *QUICK, "--data", "folder:FOLDER/empty"], ["dog is empty", "add pictures, or remove"]),
    "one class": (["vgg19", *QUICK, "--data", "folder:FOLDER/one"], ["1 class", "at least 2"]),
    "an unreadable picture": (["vgg19", *QUICK, "--data", "folder:FOLDER/torn"], ["cat/0.png cannot be read"]),
    "an unknown timm model": (["timm/resnet1", *QUICK], ["unknown timm model 'resnet1'", "did you mean"]),
    "an image size that the patches do not divide": (
        ["vit_tiny:patch_size=7", *QUICK],
        ["vit_tiny:patch_size=7", "32 is not a multiple of its patch size 7", "data.image_size=35"],
    ),
    "a limit below one of each class": (["vgg19", *QUICK, "--set", "train.limit=5"], ["train.limit = 5"]),
    "too many pictures for validation": (["vgg19", *QUICK, "--set", "data.validation=9999"], ["validation = 9999"]),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, picture_folder: Path) -> Path:
    """Everything that the requests above name."""
    (tmp_path / "broken.toml").write_text('name = "x"\nseeds = [0]\n[data\n')
    (tmp_path / "part.toml").write_text('name = "x"\nseeds = [0]\n')
    (tmp_path / "file").write_text("")
    for kind in ("empty", "one", "torn"):
        shutil.copytree(picture_folder, tmp_path / kind)
    for file in (tmp_path / "empty" / "train" / "dog").iterdir():
        file.unlink()
    for part in ("train", "test"):
        shutil.rmtree(tmp_path / "one" / part / "dog")
    (tmp_path / "torn" / "train" / "cat" / "0.png").write_bytes(b"no picture")
    return tmp_path


def refused(done: Any, says: list[str]) -> None:
    """The answer is as promised; lines of progress may go before it."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    answers = [line for line in done.stderr.splitlines() if line.startswith("bench: ")]
    assert answers == done.stderr.splitlines()[-1:]
    assert "Traceback" not in done.stderr
    assert all(part in answers[0] for part in says), answers[0]


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_answered_in_one_line(kind: str, folder: Path, bench: Callable[..., Any]) -> None:
    arguments, says = BAD[kind]
    done = bench("run", *(argument.replace("FOLDER", str(folder)) for argument in arguments), in_folder=folder)
    refused(done, says)
    assert [file for file in folder.glob("results/**/*") if file.is_file()] == []


@pytest.mark.skipif(choose_device("auto").kind == "cuda", reason="there is CUDA here")
def test_cuda_is_refused_where_there_is_none(folder: Path, bench: Callable[..., Any]) -> None:
    done = bench("run", "vgg19", *QUICK, "--device", "cuda", in_folder=folder)
    refused(done, ["--device cuda", "choose among auto, cpu"])


def test_an_unknown_command_is_refused(folder: Path, bench: Callable[..., Any]) -> None:
    refused(bench("runn", in_folder=folder), ["runn"])


def test_bad_input_leaves_standard_output_empty_for_json(folder: Path, bench: Callable[..., Any]) -> None:
    refused(bench("run", "vgg91", *QUICK, "--json", in_folder=folder), ["unknown model"])

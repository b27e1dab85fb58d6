"""Listing is instant: it answers without importing torch, in text and in JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAVY = {"torch", "torchvision", "timm", "sklearn", "matplotlib"}
LISTINGS = {
    "models": {"name", "family", "options", "plugin", "source"},
    "datasets": {"name", "plugin", "source"},
    "protocols": {"name", "fingerprint", "description"},
}


@pytest.mark.parametrize("command", [*LISTINGS, "plugins", "--help", "--version"])
def test_listing_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    listing = [command] if command.startswith("--") else [command, "--json"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench", *listing],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert {"bench", "typer"} <= imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize("command", LISTINGS)
def test_a_listing_is_one_json_document_of_rows(command: str, bench: Callable[..., Any], tmp_path: Path) -> None:
    done = bench(command, "--json", in_folder=tmp_path)
    rows = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(set(row) == LISTINGS[command] for row in rows)
    expected = {"models": "vgg19", "datasets": "folder", "protocols": "quick"}[command]
    assert expected in [row["name"] for row in rows]


@pytest.mark.parametrize("command", LISTINGS)
def test_a_listing_for_people_has_a_line_for_each(command: str, bench: Callable[..., Any], tmp_path: Path) -> None:
    written = bench(command, in_folder=tmp_path).stdout
    rows = json.loads(bench(command, "--json", in_folder=tmp_path).stdout)
    assert all(any(line.startswith(row["name"]) for line in written.splitlines()) for row in rows)


def test_plugins_are_listed_with_what_they_add_and_what_went_wrong(bench: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text("import nowhere_to_be_found\n")
    done = bench("plugins", "--json", in_folder=tmp_path)
    listed = json.loads(done.stdout)
    assert done.returncode == 0
    by_name = {row["name"]: row for row in listed["plugins"]}
    assert by_name["vgg"]["models"] == ["vgg19", "vgg19_bn"]
    assert "folder" in by_name["datasets"]["datasets"]
    (problem,) = listed["problems"]
    assert "broken.py is left out: ModuleNotFoundError" in problem
    assert "broken.py is left out" in bench("plugins", in_folder=tmp_path).stderr


def test_a_model_dropped_into_plugins_is_listed_at_once(bench: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(
        "from bench import ModelSpec, hookimpl\n"
        "def build(*, num_classes, image_size, pretrained, depth=2): ...\n"
        "@hookimpl\n"
        "def bench_models():\n"
        "    yield ModelSpec('mine', build, family='cnn')\n"
    )
    rows = json.loads(bench("models", "--json", in_folder=tmp_path).stdout)
    mine = next(row for row in rows if row["name"] == "mine")
    assert (mine["plugin"], mine["options"]) == ("mine", {"depth": 2})


def test_a_protocol_is_shown_with_every_setting(bench: Callable[..., Any], tmp_path: Path) -> None:
    shown = json.loads(bench("protocols", "cifar10", "--json", in_folder=tmp_path).stdout)
    names = json.loads(bench("protocols", "--settings", "--json", in_folder=tmp_path).stdout)
    assert {name.partition(".")[0] for name in names} <= set(shown)
    assert shown["head"]["hidden"] == [256, 256]


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_lists_the_commands_over_several_lines(
    arguments: list[str], bench: Callable[..., Any], tmp_path: Path
) -> None:
    done = bench(*arguments, in_folder=tmp_path)
    written = done.stdout + done.stderr
    lines = [line.strip().split(" ")[0] for line in written.splitlines()]
    assert {"run", "models", "datasets", "protocols", "plugins"} <= set(lines)


def test_the_help_of_run_names_its_options(bench: Callable[..., Any], tmp_path: Path) -> None:
    done = bench("run", "--help", in_folder=tmp_path)
    assert done.returncode == 0
    for option in (
        "--all", "--protocol", "--data", "--seed", "--device", "--results", "--set", "--fresh", "--quiet", "--json",
    ):  # fmt: skip
        assert option in done.stdout

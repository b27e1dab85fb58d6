"""The commands compare and recommend answer from records, in a process without torch, with the status promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import answers, write_failure, write_session, write_trial

HEAVY = {"torch", "torchvision", "timm", "sklearn", "matplotlib"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """results/quick with a good model, a bad and slow one, and one that failed; other/ with other settings."""
    results = tmp_path / "results"
    for seed in range(3):
        write_trial(results, "good", answers(0.9, seed=seed), seed=seed)
        write_trial(results, "bad", answers(0.5, seed=seed), seed=seed)
    write_trial(results, "near", answers(0.89))
    write_session(results / "quick", {"good": 10.0, "bad": 90.0})
    write_failure(results, "large")
    write_trial(tmp_path / "other", "good", settings={"train": {"epochs": 7}})
    return tmp_path


def test_compare_exits_with_1_where_b_is_worse(folder: Path, bench: Callable[..., Any]) -> None:
    worse = bench("compare", "good", "bad", "--times", in_folder=folder)
    assert worse.returncode == 1
    assert worse.stdout.splitlines()[0] == "worse: quick, good → bad: accuracy, latency_ms"
    without = bench("compare", "good", "bad", in_folder=folder)
    assert (without.returncode, without.stderr) == (1, "")
    assert without.stdout.splitlines()[0] == "worse: quick, good → bad: accuracy"
    better = bench("compare", "bad", "good", "--tolerance", "accuracy=0.5,latency_ms=0.1", "--json", in_folder=folder)
    document = json.loads(better.stdout)
    assert (better.returncode, document["outcome"]) == (0, "not worse")
    changes = {one["quantity"]: one for one in document["compared"][0]["changes"]}
    outcomes = {key: one["verdict"]["outcome"] for key, one in changes.items()}
    assert (outcomes["accuracy"], outcomes["latency_ms"], outcomes["params"]) == ("better", "better", "tie")
    assert (changes["params"]["tolerance"], changes["latency_ms"]["verdict"]["ratio"]) == (None, pytest.approx(1 / 9))


def test_what_cannot_be_told_is_a_warning_and_a_failure_where_asked(folder: Path, bench: Callable[..., Any]) -> None:
    open_one = bench("compare", "good", "near", in_folder=folder)
    assert open_one.returncode == 0
    assert open_one.stdout.startswith("cannot tell: quick, good → near: accuracy; what would decide: more seeds")
    assert "--strict" in open_one.stderr and open_one.stderr.count("\n") == 1
    assert bench("compare", "good", "near", "--strict", in_folder=folder).returncode == 1


def test_compare_takes_folders(folder: Path, bench: Callable[..., Any]) -> None:
    same = bench("compare", "results", "results", in_folder=folder)
    assert same.returncode == 0, same.stderr
    assert "worse: " not in same.stdout.splitlines()[0]


def test_recommend_names_models_and_why_others_are_left_out(folder: Path, bench: Callable[..., Any]) -> None:
    done = bench("recommend", "--max", "latency_ms=20", "--min", "accuracy=80%", in_folder=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("good ") for line in lines)
    assert any(line.startswith("  bad: test top-1 (%) is 50.00") for line in lines)
    assert any(line.startswith("  large: no trial ended well (oom") for line in lines)
    none = bench("recommend", "--max", "latency_ms=1", "--json", in_folder=folder)
    assert none.returncode == 1
    assert json.loads(none.stdout)["nearest_miss"] == "good"


BAD: dict[str, tuple[list[str], list[str]]] = {
    "an unknown model": (["compare", "goood", "bad"], ["unknown model 'goood'", "did you mean good"]),
    "other settings": (["compare", "results", "other"], ["train.epochs 3 / 7"]),
    "a tolerance that is none": (["compare", "good", "bad", "--tolerance", "x"], ["--tolerance x", "NUMBER"]),
    "an unknown quantity": (["recommend", "--max", "latency=20"], ["did you mean latency_ms", "accuracy"]),
    "no limit": (["recommend"], ["--max latency_ms=20"]),
    "no results": (["recommend", "--max", "memory=1GB", "--results", "none"], ["none: no such results folder"]),
    "an unknown protocol": (["compare", "good", "bad", "--protocol", "quik"], ["did you mean quick"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_answered_in_one_line(kind: str, folder: Path, bench: Callable[..., Any]) -> None:
    arguments, says = BAD[kind]
    done = bench(*arguments, in_folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in says), line


def test_neither_imports_torch(folder: Path) -> None:
    for arguments in (["compare", "good", "bad"], ["recommend", "--max", "latency_ms=20"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "bench", *arguments],
            cwd=folder,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert "numpy" in imported
        assert imported & HEAVY == set()

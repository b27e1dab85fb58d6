"""Beside a damaged file everything else is made: what one file holds is what it costs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import answers, write_trial

from bench import api
from bench.records.frame import export
from bench.report.judge.compare import compare
from bench.report.judge.recommend import recommend


def _one_array(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))


def _objects(file: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (file.with_name("ran"),)

    np.savez(file, samples=np.array([Runs()], dtype=object), index=np.array([Runs()], dtype=object))


def _other_kinds(file: Path) -> None:
    np.savez(
        file, index=np.arange(200) + 0.5, label=np.arange(200) % 3, probabilities=np.eye(3)[np.arange(200) % 3],
        samples=np.zeros((2, 2)), mistakes=np.zeros(3),
    )  # fmt: skip


def _other_lengths(file: Path) -> None:
    np.savez(
        file, index=np.arange(20), label=np.arange(200) % 3, probabilities=np.eye(3)[np.arange(10) % 3],
        samples=np.zeros(0), mistakes=np.zeros((3, 8, 8, 3), dtype=np.uint8),
    )  # fmt: skip


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("nothing of the kind"),
    "half a zip": lambda file: file.write_bytes(b"PK\x03\x04xxxx"),
    "a pickle": lambda file: file.write_bytes(pickle.dumps([1])),
    "one array": _one_array,
    "objects": _objects,
    "other kinds": _other_kinds,
    "other lengths": _other_lengths,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_beside_damaged_files_everything_else_is_made(damage: str, tmp_path: Path) -> None:
    for model, share in (("a", 0.8), ("b", 0.7), ("c", 0.6)):
        for seed in range(3):
            write_trial(tmp_path, model, answers(share, seed=seed), seed=seed)
    predictions = tmp_path / "quick" / "a" / "seed0" / "predictions.npz"
    pictures = tmp_path / "quick" / "b" / "seed0" / "pictures.npz"
    for file in (predictions, pictures):
        DAMAGE[damage](file)
    outcome = api.report(tmp_path, texts=())
    assert (tmp_path / "index.html").is_file() and "b" in (tmp_path / "findings.md").read_text()
    assert all("mistakes-b" in path or "samples" in path for path in outcome.failed)
    assert compare("b", "c", results=tmp_path)[0]
    assert recommend(tmp_path, least=["accuracy=0.5"])[0].chosen
    export(tmp_path, tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) >= 9
    assert not any(file.with_name("ran").exists() for file in (predictions, pictures))  # no code of theirs was run

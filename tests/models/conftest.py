"""Weights to start from, and a hub without a network.

`import timm` passes on any machine in the tests of this folder: see bench/models/torchvision_operators.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

import bench.models  # noqa: F401
from bench.models.weights.read import State


@pytest.fixture(scope="module")
def vit_state() -> State:
    """A vit_tiny for 224 pixels, classifier included, of random weights."""
    import timm

    torch.manual_seed(1)
    return dict(timm.create_model("vit_tiny_patch16_224").state_dict())


@pytest.fixture
def vit_file(vit_state: State, tmp_path: Path) -> Path:
    torch.save(vit_state, tmp_path / "vit.pt")
    return tmp_path / "vit.pt"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub; whoever asks the network is told that there is none."""

    def no_network(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", no_network)
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda repository, file, revision=None: _cached(tmp_path / "hub", repository, file),
    )
    yield tmp_path / "hub"


def _cached(folder: Path, repository: str, file: str) -> str | None:
    found = folder / repository.replace("/", "--") / file
    return str(found) if found.is_file() else None

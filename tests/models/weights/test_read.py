"""Files of weights are read without running code, or refused in one line that says why."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.errors import RequestError
from bench.models.weights.read import State, read_state


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema", "model_ema"])
def test_the_state_dict_may_lie_in_a_training_checkpoint(vit_state: State, wrapper: str, tmp_path: Path) -> None:
    prefixed = {f"module._orig_mod.{name}": tensor for name, tensor in vit_state.items()}
    torch.save({wrapper: prefixed, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "checkpoint.pth")
    read = read_state(tmp_path / "checkpoint.pth")
    assert read.keys() == vit_state.keys()


def test_safetensors_are_read(vit_state: State, tmp_path: Path) -> None:
    save_file(vit_state, tmp_path / "vit.safetensors")
    assert torch.equal(read_state(tmp_path / "vit.safetensors")["norm.bias"], vit_state["norm.bias"])


# Files that are refused.


class _RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)

    def __init__(self, marker: Path) -> None:
        self.marker = marker


def _save_evil(file: Path, state: State) -> None:
    torch.save({**state, "extra": _RunsCode(file.with_name("ran"))}, file)


def _save_plain_pickle(file: Path, state: State) -> None:
    file.write_bytes(pickle.dumps({"extra": _RunsCode(file.with_name("ran"))}))


def _save_whole_module(file: Path, state: State) -> None:
    torch.save(nn.Linear(2, 2), file)


def _save_script(file: Path, state: State) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(file))


def _cut(share: float, **how: Any) -> Callable[[Path, State], None]:
    def save(file: Path, state: State) -> None:
        torch.save(state, file, **how)
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])

    return save


REFUSED: dict[str, tuple[Callable[[Path, State], None], str]] = {
    "it runs code": (_save_evil, r"would run code \(posix\.system\) when loaded, and is refused"),
    "it is a pickle that runs code": (_save_plain_pickle, "would run code when loaded, and is refused"),
    "it is a whole module": (_save_whole_module, r"would run code \(torch\.nn\.modules\.linear\.Linear\)"),
    "it is a program": (_save_script, "would run code"),
    "half of it is missing": (_cut(0.5), "damaged or cut short"),
    "it has only its start": (_cut(0.0001), "damaged or cut short"),
    "it is empty": (_cut(0), "damaged or cut short"),
    "half of it, in the old format, is missing": (
        _cut(0.5, _use_new_zipfile_serialization=False),
        "damaged or cut short",
    ),
    "it is a text": (lambda file, _: file.write_text("hello"), "neither a safetensors file nor a state dict"),
    "it holds no tensors": (lambda file, _: torch.save({"epoch": 3}, file), "holds no state dict"),
    "it holds a list": (lambda file, _: torch.save([torch.ones(1)], file), "holds no state dict"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_file_is_refused_in_one_line_because(why: str, vit_state: State, tmp_path: Path) -> None:
    save, says = REFUSED[why]
    file = tmp_path / "model.pt"
    save(file, vit_state)
    with pytest.raises(RequestError, match=says) as refused:
        read_state(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("length", [0, 3, 5000])
def test_a_safetensors_file_that_is_cut_short_is_refused(length: int, vit_state: State, tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    save_file(vit_state, file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RequestError, match="cut short"):
        read_state(file)

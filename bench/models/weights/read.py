"""The tensors in a file of weights, read without running code, or refused in a line that says why."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from bench.errors import RequestError

State = dict[str, torch.Tensor]

# In the metadata of a safetensors file: the tensors are a whole classifier's that bench has kept (models/kept.py).
KEPT = "bench.model"
NO_STATE = "holds no state dict; save one with torch.save(model.state_dict(), FILE)"


def read_state(file: Path) -> State:
    """The tensors of a safetensors file or of a state dict saved by torch, by name; on the CPU.

    Out of a training script's checkpoint they are taken as timm does: averaged ones first, without the prefixes
    of torch.compile and DistributedDataParallel. Of a model that bench has kept, they are the backbone's.
    Raises RequestError for a file that is missing, damaged, no such file, or that wants to run code.
    """
    state = read_tensors(file)
    if is_kept(file):
        return {name.removeprefix("backbone."): state[name] for name in state if name.startswith("backbone.")}
    return state


def is_kept(file: Path) -> bool:
    """Whether that readable file is a model that bench has kept."""
    if file.suffix != ".safetensors":
        return False
    with safe_open(file, "pt") as content:
        return KEPT in (content.metadata() or {})


def read_tensors(file: Path) -> State:
    """As `read_state`, of a kept model the head too."""
    from timm.models import load_state_dict

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is refused below
            content: dict[str, Any] = load_state_dict(str(file), weights_only=True)
    except FileNotFoundError:
        raise RequestError(f"weights {file}: no such file") from None
    except Exception as error:  # the readers raise nearly everything at a file that is not theirs
        raise RequestError(f"weights {file}: {_why_unreadable(file, error)}") from None
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise RequestError(f"weights {file}: {NO_STATE}")
    return tensors


def _why_unreadable(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        start = stream.read(2)
    if isinstance(error, SafetensorError):
        return f"is cut short, or no safetensors file ({error})"
    if isinstance(error, AttributeError):  # of an object that is no dictionary, or not by names
        return NO_STATE
    cause = error.__cause__ or error  # timm says in its own words that torch has refused it
    wants = re.search(r"GLOBAL ([\w.]+)", str(cause))
    if "TorchScript" in str(cause) or wants or (isinstance(cause, pickle.UnpicklingError) and start[:1] == b"\x80"):
        what = f" ({wants[1]})" if wants else ""
        return f"would run code{what} when loaded, and is refused; save its state dict, or use safetensors"
    if start in {b"PK", b"\x80\x02"} or not start:
        return "is damaged or cut short; fetch it again"
    return "is neither a safetensors file nor a state dict saved by torch"

"""torch.compile, with the mode that a user chose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def compiled_if(asked: bool, forward: Callable[..., torch.Tensor], mode: str = "default") -> Any | None:
    """`compiled`, where that is asked for; else None."""
    return compiled(forward, mode) if asked else None


def compiled(forward: Callable[..., torch.Tensor], mode: str = "default") -> Any:
    """What computes the same; a module, where a module is given."""
    return torch.compile(forward) if mode == "default" else torch.compile(forward, mode=mode)

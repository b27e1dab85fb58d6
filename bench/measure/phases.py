"""The phases of a training step: data, forward, backward, optimizer. Seen from outside, by hooks.

A step is any callable that fetches its batch, calls the model, runs the backward pass and steps the
optimizer, in this order. It starts in `data`; `forward` begins when the model is called, `backward`
when the model returns (so the loss belongs to it), `optimizer` when the optimizer steps. What follows
the optimizer belongs to it, too. A batch that exists before the step leaves `data` all but empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

PHASES = ("data", "forward", "backward", "optimizer")


@contextmanager
def phases_told(model: nn.Module, optimizer: torch.optim.Optimizer, begins: Callable[[str], None]) -> Iterator[None]:
    """Within this context, `begins` is called with the name of each phase after `data` when it begins."""

    def on_call(*_: Any) -> None:
        begins("forward")

    def on_return(*_: Any) -> None:
        begins("backward")

    def on_optimizer(*_: Any) -> None:
        begins("optimizer")

    handles = [
        model.register_forward_pre_hook(on_call),
        model.register_forward_hook(on_return),
        optimizer.register_step_pre_hook(on_optimizer),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

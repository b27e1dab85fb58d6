"""What training changes of a model, and its moving average."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

State = dict[str, torch.Tensor]


def trained_state(model: nn.Module) -> State:
    """All that training changes: what trains, and the buffers (not copies). Frozen parameters never change."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if name not in frozen}


def copied(state: State) -> State:
    """The state as it is now, whatever training goes on to do."""
    return {name: tensor.clone() for name, tensor in state.items()}


class Average:
    """An exponential moving average of a model's trained state, buffers too; counts are taken as they are.

    Each step replaces one minus `decay` of it; at first more, since it begins with weights that have learned nothing:
    after n steps it keeps min(decay, (1 + n) / (10 + n)), as TensorFlow's ExponentialMovingAverage does.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._live = trained_state(model)
        self.state = copied(self._live)
        floats = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        self._averaged = [self.state[name] for name in floats], [self._live[name] for name in floats]
        self._taken = [name for name in self.state if name not in floats]

    @torch.no_grad()
    def update(self) -> None:
        """After a step."""
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, live = self._averaged
        torch._foreach_lerp_(averages, live, 1 - keep)
        for name in self._taken:
            self.state[name].copy_(self._live[name])

    @contextmanager
    def in_place(self) -> Iterator[State]:
        """Within it the model has the average in place of its weights; gives it."""
        held = copied(self._live)
        self._put(self.state)
        try:
            yield self.state
        finally:
            self._put(held)

    @torch.no_grad()
    def _put(self, state: State) -> None:
        for name, tensor in self._live.items():
            tensor.copy_(state[name])

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on."""
        return {"steps": self.steps, "state": self.state}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.steps = saved["steps"]
        for name, tensor in self.state.items():
            tensor.copy_(saved["state"][name])

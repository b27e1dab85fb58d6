"""A training step as one graph: where the device has graphs, its launches are recorded once and then replayed as one.

Starting the kernels of a small model one by one takes several times as long as they compute. A replay computes the very
same kernels, on whatever then lies in the tensors that were recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from bench.device import Device, out_of_memory
from bench.protocol import Protocol
from bench.records.record import Failure

Given = TypeVar("Given")

# Steps before the recording: libraries choose their kernels, and the optimizer's state comes into being.
WARM_UP = 3


class CannotRecordError(Exception):
    """Steps of this model cannot be a graph; the text says why."""


class Graph:
    """Carries out steps on batches of one shape; gives what the step gave, valid until the next.

    `why_not` says why steps are not replayed, or no longer; they are then carried out one kernel after the other.
    """

    def __init__(self, device: Device, why_not: str | None = None) -> None:
        self.why_not = why_not
        self._device = device
        self._warmed_up = 0
        self._replay: Callable[[], Any] | None = None
        self._inputs: list[torch.Tensor] = []

    def carry_out(self, step: Callable[[Any, torch.Tensor], Given], inputs: Any, labels: torch.Tensor) -> Given:
        """The step on that batch; `step` is always the same."""
        if self.why_not is not None:
            return step(inputs, labels)
        if self._replay is None and self._warmed_up < WARM_UP:
            self._warmed_up += 1
            with self._device.aside():
                return step(inputs, labels)
        batch = [*(inputs if isinstance(inputs, tuple) else (inputs,)), labels]
        if self._replay is None:
            self._replay = self._recorded(step, inputs, labels)
            if self._replay is None:
                return step(inputs, labels)
        if [tensor.shape for tensor in batch] != [tensor.shape for tensor in self._inputs]:
            return step(inputs, labels)
        for held, new in zip(self._inputs, batch, strict=True):
            held.copy_(new)
        given: Given = self._replay()
        return given

    def give_up(self, why: str) -> None:
        """Replay no longer, and give the memory back that the graph holds."""
        self.why_not = self.why_not or why
        self._replay, self._inputs = None, []

    def _recorded(
        self, step: Callable[[Any, torch.Tensor], Given], inputs: Any, labels: torch.Tensor
    ) -> Callable[[], Given] | None:
        """None where it cannot be: memory that runs out is raised, all else is a reason."""
        held = tuple(map(torch.clone, inputs)) if isinstance(inputs, tuple) else inputs.clone()
        held_labels = labels.clone()
        try:
            replay = self._device.record(lambda: step(held, held_labels))
        except Exception as error:  # a model may do anything that a graph cannot
            if out_of_memory(error):
                raise
            self.give_up(str(Failure.of(error)))
            return None
        self._inputs = [*(held if isinstance(held, tuple) else (held,)), held_labels]
        return replay

    def record(self) -> dict[str, Any]:
        """The record's `training.graph`."""
        return {"used": self._replay is not None, "why": self.why_not}


def holds_update(protocol: Protocol, device: Device) -> bool:
    """Whether the optimizer's update can be part of the graph, on a device that has graphs.

    Of Adam alone, and not where the schedule moves its betas, too: like SGD's momentum they are numbers in a kernel's
    launch.
    """
    adam = protocol.optimizer.name in ("adam", "adamw")
    return device.has_graphs and adam and protocol.schedule.name != "one-cycle"

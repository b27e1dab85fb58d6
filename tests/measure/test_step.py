"""The time of a training step is told apart by phase."""

from __future__ import annotations

from typing import Any

import torch
from moving_clock import Clock
from torch import nn

from bench.device import Device
from bench.measure.step import measure_step

CPU = Device("cpu")


class Slow(torch.autograd.Function):
    """Takes 3 seconds in the backward pass."""

    clock: Clock

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        Slow.clock.now += 3
        return gradients[0]


def test_a_step_is_split_into_data_forward_backward_and_optimizer(clock: Clock) -> None:
    Slow.clock = clock

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.now += 2
            return Slow.apply(self.weight * x)  # type: ignore[no-any-return, no-untyped-call]

    class Optimizer(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            clock.now += 4

    model = Net()
    optimizer = Optimizer(model.parameters(), lr=0.1)

    def step() -> None:
        clock.now += 1
        model(torch.ones(1)).sum().backward()
        optimizer.step()

    found = measure_step(step, model, optimizer, CPU, images=5, runs=6)
    assert found["phases"] == {"data": 1, "forward": 2, "backward": 3, "optimizer": 4}
    assert found["seconds"] == 10
    assert found["ci95"] == (10, 10)
    assert found["images_per_second"] == 0.5
    assert not model._forward_hooks and not model._forward_pre_hooks

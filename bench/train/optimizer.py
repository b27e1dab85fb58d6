"""What the protocol says of a training step: its loss, its optimizer over what trains, and the schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.device import Device
from bench.protocol import Protocol

# From logits (B, classes) in float32 and classes (B) to the scalar that a training step minimises.
Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(protocol: Protocol) -> Loss:
    """What training minimises. Evaluation has the plain cross-entropy whatever this is, so that losses compare."""
    return functional.cross_entropy


def make_optimizer(model: nn.Module, protocol: Protocol, graph_on: Device | None = None) -> torch.optim.Optimizer:
    """The protocol's optimizer over what trains; `graph_on`: one whose update can be recorded in a graph there."""
    settings = protocol.optimizer
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.name == "sgd":
        return torch.optim.SGD(trained, momentum=settings.momentum, **common)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    if graph_on is not None:  # which reads the rate of each replay from the device
        common |= {"lr": torch.tensor(settings.learning_rate, device=graph_on.torch_device), "capturable": True}
    return kind(trained, **common, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer, protocol: Protocol, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The protocol's schedule, stepped once a batch, for epochs of so many steps."""
    total = protocol.train.epochs * steps
    gamma = protocol.schedule.gamma
    match protocol.schedule.name:
        case "one-cycle":
            peak = protocol.optimizer.learning_rate
            return torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=total + 1)
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        case "exponential":
            return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: gamma ** (step // steps))
        case "constant":
            return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)

"""What the protocol says of a training step: its loss, its optimizer over what trains, and the schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from bench.device import Device
from bench.errors import RequestError
from bench.protocol import Protocol

# From logits (B, classes) in float32 and classes (B) to the scalar that a training step minimises.
Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(protocol: Protocol, classes: Sequence[str] = (), labels: Tensor | None = None) -> Loss:
    """What training minimises. Evaluation has the plain cross-entropy whatever this is, so that losses compare.

    `labels` are those that are trained on, of these classes; they are needed where classes have weights.
    """
    settings = protocol.loss
    weights = None if labels is None else class_weights(protocol, classes, labels)
    if weights is None and not settings.label_smoothing:
        return functional.cross_entropy

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets, weights, label_smoothing=settings.label_smoothing)

    return loss


def class_weights(protocol: Protocol, classes: Sequence[str], labels: Tensor) -> Tensor | None:
    """The weight of each class (classes; float32, where the labels are), their mean over the pictures 1; None: equal.

    Raises RequestError for a class that is not there.
    """
    asked = protocol.loss.class_weights
    if asked == "none":
        return None
    counts = labels.bincount(minlength=len(classes)).float()
    if asked == "balanced":
        weights = torch.where(counts > 0, 1 / counts.clamp_min(1), 0.0)
    else:
        check_class_weights(protocol, classes)
        assert isinstance(asked, dict)
        weights = torch.tensor([asked.get(name, 1.0) for name in classes], device=labels.device)
    return weights * counts.sum() / (weights * counts).sum()


def check_class_weights(protocol: Protocol, classes: Sequence[str]) -> None:
    """RequestError where the protocol weighs a class that the data have not."""
    asked = protocol.loss.class_weights
    for name in asked if isinstance(asked, dict) else ():
        if name not in classes:
            raise RequestError(f"loss.class_weights: the data have no class {name!r}; they have {', '.join(classes)}")


def make_optimizer(model: nn.Module, protocol: Protocol, graph_on: Device | None = None) -> torch.optim.Optimizer:
    """The protocol's optimizer over what trains; `graph_on`: one whose update can be recorded in a graph there."""
    settings = protocol.optimizer
    groups = parameter_groups(model, protocol)
    if graph_on is not None:  # which reads the rate of each replay from the device
        for group in groups:
            group["lr"] = torch.tensor(group["lr"], device=graph_on.torch_device)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    if settings.name == "muon":
        from timm.optim.muon import Muon

        return Muon(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=True)
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, capturable=graph_on is not None, fused=True)


def parameter_groups(model: nn.Module, protocol: Protocol) -> list[dict[str, Any]]:
    """What trains, by learning rate and weight decay: one group, unless the protocol makes differences."""
    settings = protocol.optimizer
    scales = _layer_scales(model, settings.layer_decay) if settings.layer_decay < 1 else {}
    spared = _undecayed(model) if settings.decayed == "weights" else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = settings.learning_rate * scales.get(name, 1.0)
            decay = 0.0 if name in spared else settings.weight_decay
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": own, "lr": rate, "weight_decay": decay} for (rate, decay), own in groups.items()]


def _undecayed(model: nn.Module) -> set[str]:
    """Norms, biases, embeddings and tokens: what has one dimension, and what a model of timm names itself."""
    found = {name for name, parameter in model.named_parameters() if parameter.ndim <= 1}
    for place, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            found.add(f"{place}.weight")
        if callable(names := getattr(module, "no_weight_decay", None)):
            found |= {f"{place}.{name}" if place else name for name in names()}
    return found


def _layer_scales(model: nn.Module, decay: float) -> dict[str, float]:
    """By the backbone's parameters, decay ** (layers behind theirs), the head being the last (Clark et al., 2020).

    timm says which layers a model of its own has; of another they are the parts that it is made of, in their order.
    """
    backbone: Any = model.backbone
    if hasattr(backbone, "group_matcher"):
        from timm.models import group_parameters

        layers = group_parameters(backbone, backbone.group_matcher(coarse=False), reverse=True)
    else:
        layers = _parts(backbone)
    last = max(layers.values()) + 1
    names = (name for name, _ in backbone.named_parameters())
    return {f"backbone.{name}": decay ** (last - layers.get(name, last - 1)) for name in names}


def _parts(backbone: nn.Module) -> dict[str, int]:
    """By parameter the number of the part that it is in; a module that is one part alone is looked into."""
    parts = [(name, part) for name, part in backbone.named_children() if any(True for _ in part.parameters())]
    if len(parts) == 1:
        ((only, part),) = parts
        return {f"{only}.{name}": number for name, number in _parts(part).items()} or {
            f"{only}.{name}": 0 for name, _ in part.named_parameters()
        }
    return {f"{name}.{own}": number for number, (name, part) in enumerate(parts) for own, _ in part.named_parameters()}


def make_schedule(
    optimizer: torch.optim.Optimizer, protocol: Protocol, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The protocol's schedule, stepped once a batch, for epochs of so many steps; after a warm-up, where it has one."""
    rising = round(protocol.schedule.warm_up * steps)
    # Made first: a schedule starts from the rates that it finds, and the warm-up then scales them.
    schedule = _schedule(optimizer, protocol, steps, protocol.train.epochs * steps - rising)
    if not rising:
        return schedule
    warm_up = lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (rising + 1)))
    return lr_scheduler.SequentialLR(optimizer, [warm_up, schedule], [rising])


def _schedule(
    optimizer: torch.optim.Optimizer, protocol: Protocol, steps: int, total: int
) -> torch.optim.lr_scheduler.LRScheduler:
    gamma = protocol.schedule.gamma
    match protocol.schedule.name:
        case "one-cycle":
            peaks = [float(group["lr"]) for group in optimizer.param_groups]
            return lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=total + 1)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, total)
        case "exponential":
            return lr_scheduler.LambdaLR(optimizer, lambda step: gamma ** (step // steps))
        case "constant":
            return lr_scheduler.ConstantLR(optimizer, factor=1.0)

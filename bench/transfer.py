"""What trains: everything, the last block and what comes after it, or the head alone.

Frozen parts are in evaluation mode, so that their batch norms do not drift and their dropout is off.
"""

from __future__ import annotations

from torch import nn

from bench.errors import RequestError
from bench.model import Classifier


def freeze(model: Classifier, what: str, last_block: str | None, name: str) -> None:
    """Leave trainable what the protocol says (`full`, `last-block` or `head`); freeze the rest.

    Under `last-block` the backbone's modules train from `last_block` on, in the order in which they
    were registered. Raises RequestError where the model names no such module.
    """
    if what == "full":
        return
    model.backbone.requires_grad_(False)
    if what == "head":
        return
    if not last_block:
        hint = f"; name it: {name}:last_block=MODULE" if name.startswith("timm/") else ""
        raise RequestError(f"{name} has no last block to fine-tune{hint}")
    trains = False
    for path, module in model.backbone.named_modules():
        trains = trains or path == last_block
        if trains:
            module.requires_grad_(True)
    if not trains:
        raise RequestError(f"{name}: its last block {last_block!r} is no module of it")


def train_mode(model: nn.Module) -> None:
    """Training mode for what trains, evaluation mode for what is frozen.

    A module without parameters (dropout, stochastic depth) is frozen if nothing that trains was
    registered before it.
    """
    reached = False
    for module in model.modules():  # parents before their children, in the order of registration
        trains = [parameter.requires_grad for parameter in module.parameters()]
        reached = reached or (bool(trains) and all(trains))
        module.training = any(trains) if trains else reached


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """(all parameters, those that train)."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)

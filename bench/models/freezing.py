"""What trains: everything, the last block and what comes after it, or the head alone; new layers always.

Frozen parts are in evaluation mode, so that their batch norms do not drift and their dropout is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from bench.errors import RequestError
from bench.models.classifier import Classifier
from bench.models.training_only import training_only


def freeze(model: Classifier, what: str, last_block: str | None, name: str) -> None:
    """Leave trainable what the protocol says (`full`, `last-block` or `head`); freeze the rest.

    Under `last-block` the backbone's modules train from `last_block` on, in the order in which they
    were registered. The model's new layers, which have no pretrained weights, train in any case. Raises
    RequestError where the model names no such module.
    """
    if what == "full":
        return
    model.backbone.requires_grad_(False)
    new = [
        module
        for path, module in model.backbone.named_modules()
        if any(fnmatchcase(path, pattern) for pattern in model.new_layers)
    ]
    for module in new:
        module.requires_grad_(True)
    if model.new_layers and not new:
        raise RequestError(f"{name}: its new layers {', '.join(map(repr, model.new_layers))} are no modules of it")
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

    A module without parameters (dropout, stochastic depth) is as the module that it is part of: frozen or
    not. Where of that one a part trains, it is frozen if nothing that trains was registered there before it.
    """
    reached: dict[str, bool] = {}  # whether something that trains has come in the module of that path
    for path, module in model.named_modules():  # parents before their children, in the order of registration
        parent = path.rpartition(".")[0]
        so_far = reached.get(parent, False)
        trains = [parameter.requires_grad for parameter in module.parameters()]
        module.training = any(trains) if trains else so_far
        if path:
            reached[parent] = so_far or any(trains)
        reached[path] = all(trains) if trains else so_far


@dataclass(frozen=True)
class Layer:
    """A part of the model that trains as a whole or not at all: its name, kind and number of parameters."""

    name: str
    kind: str
    parameters: int
    trains: bool


def layers(model: nn.Module) -> Iterator[Layer]:
    """The model's largest parts that train as a whole or not at all, in the order of registration.

    Parts without parameters are left out; a parameter that hangs directly on a mixed part is one by itself.
    """

    def within(module: nn.Module, name: str) -> Iterator[Layer]:
        parameters = list(module.parameters())
        trains = {parameter.requires_grad for parameter in parameters}
        if len(trains) == 1 and name not in {"", "backbone", "head"}:
            yield Layer(name, type(module).__name__, sum(p.numel() for p in parameters), trains.pop())
            return
        for key, parameter in module.named_parameters(recurse=False):
            yield Layer(f"{name}.{key}", "Parameter", parameter.numel(), parameter.requires_grad)
        for key, child in module.named_children():
            if any(True for _ in child.parameters()):
                yield from within(child, f"{name}.{key}" if name else key)

    yield from within(model, "")


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """(all parameters, those that train), without the ones that serve a loss term of training alone."""
    left_out = training_only(model)
    sizes = [(p.numel(), p.requires_grad) for name, p in model.named_parameters() if not name.startswith(left_out)]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)

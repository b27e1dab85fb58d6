"""What trains: everything, the last block and what comes after it, or the head alone; new layers always.

Frozen parts are in evaluation mode, so that their batch norms do not drift and their dropout is off.
"""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase

from torch import nn

from bench.errors import RequestError
from bench.models.classifier import Classifier


def freeze(model: Classifier, what: str, last_block: str | None, name: str) -> None:
    """Leave trainable what the protocol says (`full`, `last-block`, `head` or `probe`); freeze the rest.

    Under `last-block` the backbone's modules train from `last_block` on, in the order in which they
    were registered. The model's new layers, which have no pretrained weights, train in any case. Raises
    RequestError where the model names no such module.
    """
    if what == "full":
        return
    model.backbone.requires_grad_(False)
    parts = itertools.chain(model.backbone.named_modules(), model.backbone.named_parameters())
    new = [part for path, part in parts if any(fnmatchcase(path, pattern) for pattern in model.new_layers)]
    for part in new:
        part.requires_grad_(True)
    if model.new_layers and not new:
        raise RequestError(f"{name}: its new layers {', '.join(map(repr, model.new_layers))} are no modules of it")
    if what == "probe" and new:
        raise RequestError(
            f"{name}: {', '.join(model.new_layers)} would stay as they begin, for a linear probe fits the head alone"
        )
    if what in ("head", "probe"):
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

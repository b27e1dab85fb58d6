"""What a model consists of: its layers, which of them train, and what serves its own loss term alone.

A backbone names modules of the last kind, a decoder, say, that inference never calls, in its attribute
`training_only` (see bench/hookspecs.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn


def training_only(model: nn.Module) -> tuple[str, ...]:
    """How the names of the tensors of such modules begin: `backbone.decoders.`; whether the model has any or not."""
    return tuple(
        f"{path}.{name}.".lstrip(".")
        for path, module in model.named_modules()
        for name in getattr(module, "training_only", ())
    )


def training_only_parameters(model: nn.Module) -> int:
    """How many parameters serve training alone."""
    names = training_only(model)
    return sum(parameter.numel() for name, parameter in model.named_parameters() if name.startswith(names))


def inference_tensors(model: nn.Module) -> list[Tensor]:
    """The parameters and buffers that inference needs."""
    names = training_only(model)
    return [
        tensor
        for tensors in (model.named_parameters(), model.named_buffers())
        for name, tensor in tensors
        if not name.startswith(names)
    ]


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

"""What of a model serves its own loss term alone: a decoder, say, that inference never calls.

A backbone names such modules in its attribute `training_only` (see bench/hookspecs.py).
"""

from __future__ import annotations

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

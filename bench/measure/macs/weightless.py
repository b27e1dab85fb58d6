"""A copy of a model without its weights, and how to trace it.

Counting needs shapes, not numbers. On the meta device a copy takes no memory and a forward pass no
arithmetic, so that a model of any size is counted in about the time that Python takes to walk through
it. The given model is never touched: not its mode, its hooks, its gradients or its device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, library, nn
from torch.overrides import TorchFunctionMode


def copy_to(model: nn.Module, device: str) -> nn.Module:
    """A copy on the meta device (shapes only) or the CPU (with its values, as float32).

    Modes, `requires_grad` and tied parameters are as in `model`.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        # Tensors kept as plain attributes follow the registered ones; deepcopy alone refuses those with a history.
        plain = (value for value in vars(module).values() if isinstance(value, Tensor))
        for tensor in (*module._parameters.values(), *module._buffers.values(), *plain):
            if tensor is not None and id(tensor) not in memo:
                memo[id(tensor)] = _copy_tensor(tensor, device)
    return copy.deepcopy(model, memo)


def _copy_tensor(tensor: Tensor, device: str) -> Tensor:
    values = tensor.detach()
    if device == "meta":
        copied = torch.empty_like(values, device="meta")
    else:
        # Half precision is slow on a CPU, or missing; shapes do not depend on it.
        copied = values.to(device, torch.float32 if values.is_floating_point() else values.dtype, copy=True)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(copied, requires_grad=tensor.requires_grad)
    return copied


def images(model: nn.Module, batch: int, channels: int, size: int) -> Tensor:
    """Images (batch, channels, size, size), where and as `model` takes them; their values do not matter."""
    tensors = [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]
    like = tensors[0] if tensors else torch.empty(0, device="meta")
    return torch.zeros(batch, channels, size, size, device=like.device, dtype=like.dtype)


@contextmanager
def nothing_hidden() -> Iterator[None]:
    """Inside, no fused operator hides the products that it consists of.

    Without the fast path an encoder layer shows its linear layers and its attention, and without oneDNN a
    recurrent layer on the CPU shows its steps.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None, fp32_precision=None):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


# torch 2.10 cannot say what shape `_convolution` gives on meta, later ones can; `convolution` has the same result.
if not torch._C._dispatch_has_kernel_for_dispatch_key("aten::_convolution", "Meta"):
    # In force as long as it lives.
    _SHAPES: Any = library.Library("aten", "IMPL", "Meta")  # type: ignore[no-untyped-call]
    _SHAPES.impl("_convolution", lambda *arguments: torch.convolution(*arguments[:9]))


class RecordedConvolutions(TorchFunctionMode):
    """While active, `_convolution` is called in place of `conv2d` and its like.

    The tracer records none but `_convolution`, which the others reach on every device except meta.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        chosen: Callable[..., Any] = _CONVOLUTIONS.get(func, func)
        return chosen(*args, **(kwargs or {}))


def _convolve(
    dimensions: int,
    transposed: bool,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    output_padding: int | Sequence[int],
    groups: int,
    dilation: int | Sequence[int],
) -> Tensor:
    """The convolution in the form that the tracer records."""

    def each(value: int | Sequence[int]) -> list[int]:
        values = [value] if isinstance(value, int) else list(value)
        return values * dimensions if len(values) == 1 else values

    alone = input.dim() == dimensions + 1  # one image without a batch dimension
    result: Tensor = torch._convolution(
        input.unsqueeze(0) if alone else input,
        weight,
        bias,
        each(stride),
        each(padding),
        each(dilation),
        transposed,
        each(output_padding),
        groups,
        *(False,) * 4,  # how cuDNN goes about it: no matter here
    )
    return result.squeeze(0) if alone else result


def _plain(function: Callable[..., Tensor], dimensions: int) -> Callable[..., Tensor]:
    """`function`, one of conv1d, conv2d and conv3d, with its signature."""

    def convolve(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        if isinstance(padding, str):  # recorded as it is
            return function(input, weight, bias, stride, padding, dilation, groups)
        return _convolve(dimensions, False, input, weight, bias, stride, padding, 0, groups, dilation)

    return convolve


def _transposed(dimensions: int) -> Callable[..., Tensor]:
    """conv_transpose1d, conv_transpose2d or conv_transpose3d, with its signature."""

    def convolve(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
    ) -> Tensor:
        return _convolve(dimensions, True, input, weight, bias, stride, padding, output_padding, groups, dilation)

    return convolve


_CONVOLUTIONS: dict[Any, Callable[..., Tensor]] = {
    torch.conv1d: _plain(torch.conv1d, 1),
    torch.conv2d: _plain(torch.conv2d, 2),
    torch.conv3d: _plain(torch.conv3d, 3),
    torch.conv_transpose1d: _transposed(1),
    torch.conv_transpose2d: _transposed(2),
    torch.conv_transpose3d: _transposed(3),
}

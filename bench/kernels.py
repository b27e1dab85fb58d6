"""What a CPU's library trains slowly in sixteen bits, and computes otherwise here: same result, other kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def for_sixteen_bits(*, depthwise: bool) -> Iterator[None]:
    """Within it, under a CPU's autocast, attention is single operations. Depthwise convolutions without a kernel in
    sixteen bits are computed in float32, where they are looked for: that costs every operation some microseconds."""
    with _attention_by_single_operations(), _DepthwiseInFloat32() if depthwise else nullcontext():
        yield


def has_depthwise(model: nn.Module) -> bool:
    """Whether one of its layers is a depthwise convolution."""
    return any(isinstance(one, nn.Conv2d) and 1 < one.groups == one.in_channels for one in model.modules())


class _DepthwiseInFloat32(TorchFunctionMode):
    """Depthwise convolutions have gradients in sixteen bits for a few shapes; for others they take 2 to 11 times as
    long as in float32 (benchmarks/depthwise.py)."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is not torch.conv2d or not is_slow(*args, **kwargs):
            return function(*args, **kwargs)
        given, named = [_float(one) for one in args], {key: _float(value) for key, value in kwargs.items()}
        with torch.autocast("cpu", enabled=False):
            computed = torch.conv2d(*given, **named)
        return computed.to(torch.get_autocast_dtype("cpu"))


def is_slow(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Whether these arguments of `torch.conv2d` are a depthwise convolution without a kernel for the gradients that it
    will be asked for."""
    if groups == 1 or weight.shape[1] > 1 or not torch.is_autocast_enabled("cpu"):
        return False
    if not (torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)):
        return False
    sizes = {*weight.shape[-2:]}
    steps = {*stride} if isinstance(stride, tuple | list) else {stride}
    is_fast = steps == {1} and (sizes == {1} or (sizes == {3} and min(input.shape[-2:]) >= 3))
    return not is_fast


def _float(argument: Any) -> Any:
    return argument.float() if isinstance(argument, torch.Tensor) else argument


@contextmanager
def _attention_by_single_operations() -> Iterator[None]:
    """Within it attention is matrix products and a softmax, in the numbers of its inputs: the fused kernel takes 5 to
    20 times as long for its gradients."""
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # for CPUs, too
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)

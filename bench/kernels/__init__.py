"""What a CPU's library trains slowly in sixteen bits, and computes otherwise here: same result, other kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from bench.kernels.depthwise import convolve_depthwise
from bench.kernels.products import Pair, convolve, places

Other = Literal["float32", "places", "products"]
Kernel = Callable[..., Tensor]

# Of a convolution by products: how many weights are the fewest, and how many places of the output there are at most
# for each of its channels, where a place sees one place of the input and where it sees several.
WEIGHTS, POINTWISE, SEVERAL = 16_000, 32, 4
# Of a depthwise convolution by its places: how many pairs of one of the input and one of the output are the most.
PAIRS = 32


@contextmanager
def for_sixteen_bits(*, convolutions: bool) -> Iterator[None]:
    """Within it, under a CPU's autocast, attention is single operations, and convolutions are computed by an
    `other_kernel`, where they are looked for: that costs every operation some microseconds."""
    with _attention_by_single_operations(), _Convolutions() if convolutions else nullcontext():
        yield


def has_slow_convolutions(model: nn.Module) -> bool:
    """Whether one of its layers may be a convolution that has an `other_kernel`."""
    return any(
        isinstance(one, nn.Conv2d)
        and (one.weight.numel() >= WEIGHTS if one.groups == 1 else one.groups == one.in_channels)
        for one in model.modules()
    )


class _Convolutions(TorchFunctionMode):
    """Depthwise convolutions have gradients in sixteen bits for a few shapes; for others they take 2 to 11 times as
    long as in float32, and that up to 100 times as long as a sum over the places where these are few
    (benchmarks/depthwise.py). Other convolutions of many weights and few places take up to 5 times as long as by matrix
    products (benchmarks/convolutions.py)."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is not torch.conv2d or (other := other_kernel(*args, **kwargs)) is None:
            return function(*args, **kwargs)
        return _computed(other, args, kwargs)


def other_kernel(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Other | None:
    """By which a convolution with these arguments of `torch.conv2d` is trained; None: by the library's own."""
    if not torch.is_autocast_enabled("cpu") or not torch.is_grad_enabled():
        return None
    if not (input.requires_grad or weight.requires_grad):
        return None
    if groups > 1:
        if weight.shape[1] != 1 or _has_depthwise_kernel(input, weight, stride):
            return None
        return "places" if _has_few_places(input, weight, stride, padding, dilation) else "float32"
    return "products" if _takes_products(input, weight, stride, padding, dilation) else None


def _has_depthwise_kernel(input: Tensor, weight: Tensor, stride: Any) -> bool:
    """Whether the library has one for the gradients of a depthwise convolution in sixteen bits."""
    sizes = {*weight.shape[-2:]}
    return {*_pair(stride)} == {1} and (sizes == {1} or (sizes == {3} and min(input.shape[-2:]) >= 3))


def _has_few_places(input: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any) -> bool:
    """Of a depthwise convolution: whether it is computed by them."""
    if len(weight) != input.shape[1] or not _is_plain(input, padding, dilation):
        return False
    return 0 < input.shape[2] * input.shape[3] * _count(input, weight, stride, padding) <= PAIRS


def _takes_products(input: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any) -> bool:
    if weight.numel() < WEIGHTS or not _is_plain(input, padding, dilation):
        return False
    if torch.get_autocast_dtype("cpu") is not torch.bfloat16:
        return False
    most = POINTWISE if (*weight.shape[2:],) == (1, 1) else SEVERAL
    return 0 < len(input) * _count(input, weight, stride, padding) <= most * len(weight)


def _is_plain(input: Tensor, padding: Any, dilation: Any) -> bool:
    """Whether it is one of those that can be written out here; what is compiled is left to the compiler."""
    is_usual = input.ndim == 4 and not isinstance(padding, str) and {*_pair(dilation)} == {1}
    return is_usual and not torch.compiler.is_compiling()


def _count(input: Tensor, weight: Tensor, stride: Any, padding: Any) -> int:
    """How many places a channel of the output has."""
    height, width = places(input.shape, (*weight.shape[2:],), _pair(stride), _pair(padding))
    return height * width if min(height, width) > 0 else 0


def _computed(other: Other, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """By that kernel: products in autocast's own numbers, the others in float32, rounded to these at the end."""
    dtype = torch.get_autocast_dtype("cpu")
    numbers = dtype if other == "products" else torch.float32
    given, named = [_to(numbers, one) for one in args], {key: _to(numbers, value) for key, value in kwargs.items()}
    with torch.autocast("cpu", enabled=False):
        return _KERNELS[other](*given, **named).to(dtype)


def _to(numbers: torch.dtype, argument: Any) -> Any:
    return argument.to(numbers) if isinstance(argument, Tensor) else argument


def _called_as_torch_s(convolution: Callable[[Tensor, Tensor, Tensor | None, Pair, Pair], Tensor]) -> Kernel:
    """With the arguments of `torch.conv2d`, of which those that are left, dilation and groups, follow from the rest."""

    def call(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, *_: Any, **__: Any
    ) -> Tensor:
        return convolution(input, weight, bias, _pair(stride), _pair(padding))

    return call


_KERNELS: dict[Other, Kernel] = {
    "float32": torch.conv2d,
    "places": _called_as_torch_s(convolve_depthwise),
    "products": _called_as_torch_s(convolve),
}


def _pair(value: Any) -> Pair:
    """As torch takes it: one for both, or two; one of a tuple stands for both, too."""
    if isinstance(value, int):
        return value, value
    first, last = value[0], value[-1]
    return first, last


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

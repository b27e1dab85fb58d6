"""A convolution as matrix products: its weights with its input's patches, one patch for each place of the output.

Of many weights and few places that takes a CPU's library a fraction of the time of its own convolutions, whose
gradient of the weights above all is slow then (benchmarks/convolutions.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

Pair = tuple[int, int]


def places(size: torch.Size, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Height and width of what a convolution gives of pictures (N, C, H, W) of that size."""
    height, width = (
        (length + 2 * around - side) // step + 1
        for length, side, step, around in zip(size[2:], kernel, stride, padding, strict=True)
    )
    return height, width


def convolve(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: Pair, padding: Pair
) -> torch.Tensor:
    """What `torch.conv2d` gives of an input (N, C, H, W), a weight (O, C, kH, kW) and a bias (O) of the same dtype."""
    given: torch.Tensor = _Convolution.apply(input, weight, bias, stride, padding)  # type: ignore[no-untyped-call]
    return given


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: Pair, padding: Pair
    ) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        ctx.kernel, ctx.stride, ctx.padding = kernel, stride, padding = (*weight.shape[2:],), stride, padding
        size = len(input), len(weight), *places(input.shape, kernel, stride, padding)
        # No view of something else, which nobody could change in place.
        given = torch.empty(size, dtype=input.dtype, device=input.device, memory_format=torch.channels_last)
        rows, patches = given.permute(0, 2, 3, 1).view(-1, len(weight)), _patches(input, kernel, stride, padding)
        if bias is None:
            torch.mm(patches, _rows(weight).t(), out=rows)
        else:
            torch.addmm(bias, patches, _rows(weight).t(), out=rows)
        return given

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        shape = ctx.kernel, ctx.stride, ctx.padding
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, len(weight))
        of_input = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_input = _put_back(rows @ _rows(weight), input.shape, *shape)
        if ctx.needs_input_grad[1]:
            of_weight = (rows.t() @ _patches(input, *shape)).view(len(weight), *ctx.kernel, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_input, of_weight, of_bias, None, None


def _rows(weight: torch.Tensor) -> torch.Tensor:
    """(O, kH kW C); no copy where the channels lie next to each other."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _patches(input: torch.Tensor, kernel: Pair, stride: Pair, padding: Pair) -> torch.Tensor:
    """(N H' W', kH kW C), row by row what each place of the output sees."""
    around = padding[1], padding[1], padding[0], padding[0]
    pictures = (functional.pad(input, around) if any(padding) else input).permute(0, 2, 3, 1)
    windows = pictures.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, kernel[0] * kernel[1] * input.shape[1])


def _put_back(patches: torch.Tensor, size: torch.Size, kernel: Pair, stride: Pair, padding: Pair) -> torch.Tensor:
    """The pictures of that size (N, C, H, W) of which each place is the sum of what the patches have of it."""
    count, channels, height, width = size
    if (kernel, stride, padding) == ((1, 1), (1, 1), (0, 0)):  # each has one
        return patches.view(count, height, width, channels).permute(0, 3, 1, 2)
    down, right = places(size, kernel, stride, padding)
    patches = patches.view(count, down, right, *kernel, channels)
    dtype = torch.promote_types(patches.dtype, torch.float32)  # sums are not rounded on their way
    whole = patches.new_zeros(count, height + 2 * padding[0], width + 2 * padding[1], channels, dtype=dtype)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            rows = slice(row, row + (down - 1) * stride[0] + 1, stride[0])
            columns = slice(column, column + (right - 1) * stride[1] + 1, stride[1])
            whole[:, rows, columns] += patches[:, :, :, row, column]
    inner = whole[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return inner.to(patches.dtype).permute(0, 3, 1, 2)

"""A depthwise convolution of few places: each place of the output is a weighted sum of the input's, channel by channel.

Where pictures are smaller than the kernel, a CPU's library takes 2 to 100 times as long for its gradients as this does
(benchmarks/depthwise.py), and memory for 256 times the weights.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from bench.kernels.products import Pair, places


def convolve_depthwise(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: Pair, padding: Pair
) -> torch.Tensor:
    """What `torch.conv2d` with C groups gives of an input (N, C, H, W), a weight (C, 1, kH, kW) and a bias (C).

    Time and memory grow with the number of pairs of a place of the input and one of the output: it is for few.
    """
    count, channels, height, width = input.shape
    kernel = weight.shape[2], weight.shape[3]
    down, right = places(input.shape, kernel, stride, padding)
    seen = torch.from_numpy(_seen((height, width), kernel, stride, padding)).to(weight.dtype)
    between = (seen @ weight.reshape(channels, -1).t()).view(1, height * width, down * right, channels)
    shown = input.permute(0, 2, 3, 1).reshape(count, height * width, 1, channels)
    given = (shown * between).sum(1)
    if bias is not None:
        given = given + bias
    return given.view(count, down, right, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=256)
def _seen(size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> np.ndarray:
    """(H W H' W', kH kW): 1 where that place of the output sees that of the input through that weight, else 0."""
    ways = []
    for length, side, step, around in zip(size, kernel, stride, padding, strict=True):
        given = np.arange((length + 2 * around - side) // step + 1)
        offset = np.arange(length)[:, None] + around - step * given
        ways.append((offset[..., None] == np.arange(side)).astype(np.float32))  # (H, H', kH); and so of the widths
    down, across = ways
    seen: np.ndarray = down[:, None, :, None, :, None] * across[None, :, None, :, None, :]
    return seen.reshape(-1, kernel[0] * kernel[1])

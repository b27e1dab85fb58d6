"""A depthwise convolution by its places is the library's, in value and gradients, whatever its shape."""

from __future__ import annotations

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.kernels.depthwise import convolve_depthwise

pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))
sides = st.integers(1, 4)


@given(
    count=st.integers(1, 3), channels=st.integers(1, 4), height=sides, width=sides, kernel=pairs,
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    has_bias=st.booleans(), order=st.sampled_from([torch.channels_last, torch.contiguous_format]),
)  # fmt: skip
def test_it_gives_what_the_library_s_gives(
    count: int, channels: int, height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], has_bias: bool, order: torch.memory_format,
) -> None:  # fmt: skip
    assume(height + 2 * padding[0] >= kernel[0] and width + 2 * padding[1] >= kernel[1])
    drawn = torch.Generator().manual_seed(count + height + width)
    images = torch.randn(count, channels, height, width, dtype=torch.float64, generator=drawn)
    weight = torch.randn(channels, 1, *kernel, dtype=torch.float64, generator=drawn)
    of = [images.contiguous(memory_format=order).requires_grad_(), weight.requires_grad_()]
    if has_bias:
        of.append(torch.randn(channels, dtype=torch.float64, generator=drawn).requires_grad_())
    bias = of[2] if has_bias else None
    found = convolve_depthwise(of[0], of[1], bias, stride, padding)
    expected = torch.conv2d(of[0], of[1], bias, stride, padding, groups=channels)
    torch.testing.assert_close(found, expected)
    towards = torch.randn(expected.shape, dtype=torch.float64, generator=drawn)
    for one, other in zip(
        torch.autograd.grad(found, of, towards), torch.autograd.grad(expected, of, towards), strict=True
    ):
        torch.testing.assert_close(one, other)

"""A convolution by matrix products is the library's, in value and gradients, whatever its shape."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.kernels.products import convolve

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    count=st.integers(1, 3), channels=st.integers(1, 4), out=st.integers(1, 4), height=st.integers(3, 7),
    width=st.integers(3, 7), kernel=pairs, stride=pairs, padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    has_bias=st.booleans(), order=st.sampled_from([torch.channels_last, torch.contiguous_format]),
)  # fmt: skip
def test_it_gives_what_the_library_s_gives(
    count: int, channels: int, out: int, height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], has_bias: bool, order: torch.memory_format,
) -> None:  # fmt: skip
    drawn = torch.Generator().manual_seed(count + height + width)
    images = torch.randn(count, channels, height, width, dtype=torch.float64, generator=drawn)
    weight = torch.randn(out, channels, *kernel, dtype=torch.float64, generator=drawn)
    bias = torch.randn(out, dtype=torch.float64, generator=drawn) if has_bias else None
    of = [one.contiguous(memory_format=order).requires_grad_() for one in (images, weight)]
    of += [] if bias is None else [bias.requires_grad_()]
    found = convolve(of[0], of[1], bias, stride, padding)
    expected = torch.conv2d(of[0], of[1], bias, stride, padding)
    torch.testing.assert_close(found, expected)
    towards = torch.randn(expected.shape, dtype=torch.float64, generator=drawn)
    for one, other in zip(
        torch.autograd.grad(found, of, towards), torch.autograd.grad(expected, of, towards), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_its_gradients_can_be_differentiated_again() -> None:
    drawn = torch.Generator().manual_seed(0)
    shapes = (2, 2, 4, 4), (3, 2, 3, 3), (3,)
    given = [torch.randn(shape, dtype=torch.float64, generator=drawn).requires_grad_() for shape in shapes]
    assert torch.autograd.gradgradcheck(lambda *of: convolve(*of, (2, 1), (1, 1)), given)

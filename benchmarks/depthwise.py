"""Which depthwise convolutions a CPU trains slowly in sixteen bits: those are computed otherwise (bench/kernels).

    python benchmarks/depthwise.py [--repeats 9]

Forward and backward of one convolution, 48 pictures, channels last: by the library in bfloat16, by the library in
float32 between casts, and in float32 as a sum over the places, where these are few; in turn. Prints CPU milliseconds
of each (medians), and which of them bench takes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import torch
from torch import nn

from bench.kernels import Other, other_kernel
from bench.kernels.depthwise import convolve_depthwise
from bench.kernels.products import places

# Channels, side of the picture, kernel, stride.
SHAPES = (
    *((240, side, 3, 1) for side in (16, 4, 3, 2)), *((240, side, 3, 2) for side in (32, 8, 4, 3)),
    *((240, side, 5, 1) for side in (28, 8, 4)), (672, 2, 5, 1), (672, 2, 5, 2), (1152, 1, 5, 1), (1152, 1, 3, 1),
    (240, 14, 7, 1), (240, 8, 4, 4), (240, 16, 1, 1),
)  # fmt: skip
# More pairs than that are not tried.
TRIED = 400
WAYS = (None, "float32", "places")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    print("channels  side  kernel  stride    bf16    fp32  places  taken")
    for channels, side, kernel, stride in SHAPES:
        found = milliseconds(channels, side, kernel, stride, repeats)
        with torch.autocast("cpu", torch.bfloat16):
            weight = torch.empty(channels, 1, kernel, kernel, requires_grad=True)
            images = torch.empty(1, channels, side, side)
            taken = other_kernel(images, weight, None, stride, kernel // 2, groups=channels)
        times = " ".join(f"{found[way]:7.2f}" if way in found else "      –" for way in WAYS)
        print(f"{channels:8} {side:5} {kernel:7} {stride:7} {times}  {taken or 'bf16'}")


def milliseconds(channels: int, side: int, kernel: int, stride: int, repeats: int) -> dict[Other | None, float]:
    """Median CPU time of a step by each of the ways, which take turns."""
    padding = kernel // 2
    layer = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels)
    images = torch.randn(48, channels, side, side).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    pairs = (side * places(images.shape, (kernel,) * 2, (stride,) * 2, (padding,) * 2)[0]) ** 2
    taken: dict[Other | None, list[float]] = {way: [] for way in WAYS if way != "places" or pairs <= TRIED}
    for _, way in itertools.product(range(repeats + 1), taken):
        started = time.process_time()
        if way == "places":
            given = convolve_depthwise(images.float(), layer.weight, layer.bias, (stride,) * 2, (padding,) * 2)
        else:
            numbers = torch.bfloat16 if way is None else torch.float32
            weight, bias = layer.weight.to(numbers), layer.bias.to(numbers)  # type: ignore[union-attr]
            given = torch.conv2d(images.to(numbers), weight, bias, stride, padding, groups=channels)
        given.bfloat16().sum().backward()
        taken[way].append(1000 * (time.process_time() - started))
    return {way: statistics.median(times[1:]) for way, times in taken.items()}  # the first chooses kernels


if __name__ == "__main__":
    main()

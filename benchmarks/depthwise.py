"""Which depthwise convolutions a CPU trains slowly in sixteen bits: those are computed in float32 (bench/kernels.py).

    python benchmarks/depthwise.py [--repeats 9]

Forward and backward of one convolution, 48 pictures, channels last, in bfloat16 and in float32 between casts, in turn.
Prints CPU milliseconds of each (medians), their ratio, and which of the two bench takes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import torch
from torch import nn

from bench.kernels import is_slow

# Channels, side of the picture, kernel, stride.
SHAPES = (
    *((240, side, 3, 1) for side in (16, 4, 3, 2)),
    *((240, side, 3, 2) for side in (32, 8, 4)),
    *((240, 28, 5, 1), (240, 8, 5, 1), (672, 2, 5, 1)),
    *((240, 14, 7, 1), (240, 8, 4, 4), (240, 16, 1, 1)),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    print("channels  side  kernel  stride    bf16    fp32  ratio  taken")
    for channels, side, kernel, stride in SHAPES:
        short = milliseconds(channels, side, kernel, stride, repeats)
        ratio = short[torch.bfloat16] / short[torch.float32]
        with torch.autocast("cpu", torch.bfloat16):
            weight = torch.empty(channels, 1, kernel, kernel, requires_grad=True)
            slow = is_slow(torch.empty(1, channels, side, side), weight, stride=stride, groups=channels)
        row = f"{channels:8} {side:5} {kernel:7} {stride:7} {short[torch.bfloat16]:7.2f} {short[torch.float32]:7.2f}"
        print(f"{row} {ratio:6.2f}  {'fp32' if slow else 'bf16'}")


def milliseconds(channels: int, side: int, kernel: int, stride: int, repeats: int) -> dict[torch.dtype, float]:
    """Median CPU time of a step in each of the two numbers, which take turns."""
    layers = {
        numbers: nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels).to(numbers)
        for numbers in (torch.bfloat16, torch.float32)
    }
    images = torch.randn(48, channels, side, side).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    taken: dict[torch.dtype, list[float]] = {numbers: [] for numbers in layers}
    for _, (numbers, layer) in itertools.product(range(repeats + 1), layers.items()):
        started = time.process_time()
        layer(images.to(numbers)).bfloat16().sum().backward()
        taken[numbers].append(1000 * (time.process_time() - started))
    return {numbers: statistics.median(times[1:]) for numbers, times in taken.items()}  # the first chooses kernels


if __name__ == "__main__":
    main()

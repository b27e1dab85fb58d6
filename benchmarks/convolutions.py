"""Which convolutions a CPU trains faster as matrix products in bfloat16, as bench does (bench/kernels).

    python benchmarks/convolutions.py [MODEL…] [--repeats 9] [--epochs 3]

Forward and backward of one convolution, 48 pictures, channels last, by the library's kernel and by products, in turn;
then epochs of whole models under the protocol `quick`, with and without such products (and sums over few places:
benchmarks/depthwise.py), in turn. Prints milliseconds and seconds (medians), how many times as fast the second is, and
which of the two bench takes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext
from unittest import mock

import torch
from torch import nn

from bench import kernels
from bench.data.cache import prepare as decode
from bench.kernels.products import convolve
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.run.prepare import prepare
from bench.train.loop import make_trainer, train_epoch

# Channels, channels of the output, side of the picture, kernel, stride.
SHAPES = (
    (64, 64, 32, 3, 1), (128, 128, 16, 3, 1), (256, 256, 8, 3, 1), (256, 512, 4, 3, 1), (512, 512, 4, 3, 1),
    (512, 512, 2, 3, 1), (128, 128, 4, 3, 1), (128, 32, 4, 3, 1), (512, 512, 14, 3, 2), (3, 192, 32, 16, 16),
    (64, 128, 8, 1, 1), (256, 128, 8, 1, 1), (512, 128, 4, 1, 1), (1024, 128, 1, 1, 1), (320, 1280, 1, 1, 1),
    (256, 64, 32, 1, 1), (512, 1024, 8, 1, 2),
)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["vgg19_bn", "densenet121", "efficientnet_lite0", "fdvit_ti"])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    print("   in   out  side  kernel  stride  library  products  times as fast  taken")
    for shape in SHAPES:
        library, products, taken = milliseconds(*shape, given.repeats)
        row = "{:5} {:5} {:5} {:7} {:7}".format(*shape)
        print(f"{row} {library:8.2f} {products:9.2f} {library / products:14.2f}  {taken or 'library'}")
    for name in given.models:
        before, after = seconds(name, given.epochs)
        print(f"{name}: an epoch without these {before:.2f} s, with {after:.2f} s, {before / after:.2f} times as fast")


def milliseconds(
    channels: int, out: int, side: int, kernel: int, stride: int, repeats: int
) -> tuple[float, float, str | None]:
    """Medians of the two, which take turns, and what bench takes."""
    padding = kernel // 2 if kernel == 3 else 0
    layer = nn.Conv2d(channels, out, kernel, stride, padding, bias=False).to(memory_format=torch.channels_last)
    images = torch.randn(48, channels, side, side).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * (repeats + 1)):
        started = time.perf_counter()
        weight = layer.weight.bfloat16()
        if number % 2:
            given = convolve(images, weight, None, (stride, stride), (padding, padding))
        else:
            given = torch.conv2d(images, weight, None, stride, padding)
        given.sum().backward()
        taken[number % 2].append(1000 * (time.perf_counter() - started))
    with torch.autocast("cpu", torch.bfloat16):
        taken_by_bench = kernels.other_kernel(images, layer.weight, None, stride, padding)
    library, products = (statistics.median(times[1:]) for times in taken)  # the first chooses kernels
    return library, products, taken_by_bench


def seconds(model: str, epochs: int) -> tuple[float, float]:
    """Medians of an epoch without and with products and sums, which take turns."""
    registry, protocol = load_plugins(), load_protocol("quick")
    dataset, location = registry.dataset(protocol.data.dataset)
    stored = decode(dataset, location, protocol.data.image_size)
    made = [prepare(registry.model(model), protocol, stored, 0, "auto") for _ in range(2)]
    trainers = [make_trainer(one.model, protocol, 10_000, one.precision, one.device) for one in made]
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * (epochs + 1)):
        with nullcontext() if number % 2 else mock.patch.multiple(kernels, WEIGHTS=sys.maxsize, PAIRS=0):
            started = time.perf_counter()
            train_epoch(trainers[number % 2], made[0].batches["train"].shuffled(0, number // 2, protocol.augmentation))
            taken[number % 2].append(time.perf_counter() - started)
    before, after = (statistics.median(times[1:]) for times in taken)
    return before, after


if __name__ == "__main__":
    main()

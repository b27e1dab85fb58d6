"""What training through bench costs over the fastest hand-written torch loop that does the same arithmetic.

    python benchmarks/epoch.py [MODEL…] [--compile]

Both train the same model on the same digits under the protocol `quick`: channels last, in bf16 where the machine
multiplies it itself, with a fused optimizer, through torch.compile if asked. By hand, the pictures are made ready once
and for all; bench makes each batch ready when it is its turn, as it has to where it augments. Epochs alternate, so that
a slow minute of the machine hits both. Prints each one's median seconds and the median ratio, to be at most 1.03.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import torch
from torch.nn import functional

from bench.data.cache import prepare as decode
from bench.models.compiling import compiled
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.run.prepare import prepare
from bench.train.loop import make_trainer, train_epoch

EPOCHS = 7


def by_hand(model, images, labels, mean, std, size, precision, compile_it) -> Iterator[float | None]:
    """A loop with nothing in it but the training; gives None once it is ready, then each epoch's seconds."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=10_000)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (mean, std))
    ready = functional.interpolate(images.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear")
    ready = ((ready / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
    forward = torch.compile(model) if compile_it else model
    model.train()
    yield None
    while True:
        started = time.perf_counter()
        order = torch.randperm(len(images))
        for chosen in order[: len(images) // 64 * 64].split(64):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = forward(ready[chosen])
            functional.cross_entropy(logits.float(), labels[chosen]).backward()
            optimizer.step()
            schedule.step()
        yield time.perf_counter() - started


def through_bench(model, batches, protocol, precision, device, compile_it) -> Iterator[float | None]:
    """bench's own epochs; gives None once it is ready, then each epoch's seconds."""
    forward = compiled(model) if compile_it else None
    trainer = make_trainer(model, protocol, 10_000, precision, device, forward)
    yield None
    epoch = 0
    while True:
        started = time.perf_counter()
        train_epoch(trainer, batches.shuffled(0, epoch, protocol.augmentation))
        device.synchronize()
        epoch += 1
        yield time.perf_counter() - started


def main(names: list[str], compile_it: bool) -> None:
    registry = load_plugins()
    protocol = load_protocol("quick")
    dataset, location = registry.dataset("digits")
    stored = decode(dataset, location, protocol.data.image_size)
    assert protocol.train.batch_size == 64  # as by hand
    print(f"{torch.get_num_threads()} threads, medians of {EPOCHS} epochs each, alternating")
    for name in names:
        hands, own = (prepare(registry.model(name), protocol, stored, 0, "cpu") for _ in range(2))
        pictures = hands.batches["train"]
        normalised = pictures.preparation
        loops = [
            by_hand(
                hands.model,
                pictures.images,
                pictures.labels,
                normalised.mean,
                normalised.std,
                protocol.data.image_size,
                hands.precision,
                compile_it,
            ),
            through_bench(own.model, own.batches["train"], protocol, own.precision, own.device, compile_it),
        ]
        for loop in loops:
            next(loop)
            next(loop)  # warm up
        pairs = [tuple(next(loop) for loop in loops) for _ in range(EPOCHS)]
        hand, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"{name}: by hand {hand:.2f} s, bench {ours:.2f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument != "--compile"]
    main(names or ["vgg19_bn", "densenet121", "vit_tiny"], "--compile" in sys.argv)

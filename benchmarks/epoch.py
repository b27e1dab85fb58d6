"""What training through bench costs over a hand-written torch loop that does the same arithmetic.

    python benchmarks/epoch.py [MODEL…]

Both train the same model on the same digits under the protocol `quick`; epochs alternate, so that a
slow minute of the machine hits both. Prints each one's median seconds and the ratio, which is to be
at most 1.03.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import torch
from torch.nn import functional

from bench.data.cache import prepare as decode
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.run.prepare import prepare
from bench.train.loop import make_trainer, train_epoch

EPOCHS = 7


def by_hand(model, images, labels, mean, std, precision) -> Iterator[float | None]:
    """A loop as anyone would write it, in batches of 64; gives None once it is ready, then each epoch's seconds."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=1000)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (mean, std))
    model.train()
    yield None
    while True:
        started = time.perf_counter()
        order = torch.randperm(len(images))
        for step in range(len(images) // 64):
            chosen = order[step * 64 : (step + 1) * 64]
            batch = functional.interpolate(images[chosen].permute(0, 3, 1, 2).float(), (32, 32), mode="bilinear")
            batch = (batch / 255 - mean) / std
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = model(batch)
            loss = functional.cross_entropy(logits.float(), labels[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
        yield time.perf_counter() - started


def through_bench(model, batches, protocol, precision, device) -> Iterator[float | None]:
    """bench's own epochs; gives None once it is ready, then each epoch's seconds."""
    trainer = make_trainer(model, protocol, 1000, precision, device)
    yield None
    epoch = 0
    while True:
        started = time.perf_counter()
        train_epoch(trainer, batches.shuffled(0, epoch, protocol.augmentation))
        device.synchronize()
        epoch += 1
        yield time.perf_counter() - started


def main(names: list[str]) -> None:
    registry = load_plugins()
    protocol = load_protocol("quick")
    dataset, location = registry.dataset("digits")
    stored = decode(dataset, location, 32)
    print(f"{torch.get_num_threads()} threads, medians of {EPOCHS} epochs each, alternating")
    for name in names:
        hands, own = (prepare(registry.model(name), protocol, stored, 0, "cpu") for _ in range(2))
        pictures = hands.batches["train"]
        normalised = pictures.preparation
        loops = [
            by_hand(hands.model, pictures.images, pictures.labels, normalised.mean, normalised.std, hands.precision),
            through_bench(own.model, own.batches["train"], protocol, own.precision, own.device),
        ]
        for loop in loops:
            next(loop)
            next(loop)  # warm up
        pairs = [tuple(next(loop) for loop in loops) for _ in range(EPOCHS)]
        hand, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"{name}: by hand {hand:.2f} s, bench {ours:.2f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["densenet121", "deit_tiny_distilled", "efficientnet_lite0"])

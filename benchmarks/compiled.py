"""What torch.compile brings to training here: compiled epochs against eager ones, alternating in one run.

    python benchmarks/compiled.py [MODEL…] [--mode default] [--epochs 7]

Each model trains twice on the digits under the protocol `quick`, once as it is and once through torch.compile, in the
precision that this machine multiplies by itself. Prints the median seconds of an epoch of each, the median ratio of
pairs of epochs that ran one after the other, how long compiling took, and after how many epochs that is repaid.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import torch

from bench.data.cache import prepare as decode
from bench.models.compiling import compiled
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.request import COMPILE_MODES
from bench.run.prepare import prepare
from bench.train.loop import Trainer, make_trainer, train_epoch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["densenet121", "vit_tiny"])
    parser.add_argument("--mode", default=COMPILE_MODES[0], choices=COMPILE_MODES)
    parser.add_argument("--epochs", type=int, default=7)
    given = parser.parse_args()
    registry, protocol = load_plugins(), load_protocol("quick")
    dataset, location = registry.dataset(protocol.data.dataset)
    stored = decode(dataset, location, protocol.data.image_size)
    print(f"{torch.get_num_threads()} threads, medians of {given.epochs} epochs each, alternating")
    for name in given.models:
        made = [prepare(registry.model(name), protocol, stored, 0, "auto") for _ in range(2)]
        forwards = [None, compiled(made[1].model, given.mode)]
        trainers = [
            make_trainer(one.model, protocol, 10_000, one.precision, one.device, forward)
            for one, forward in zip(made, forwards, strict=True)
        ]
        batches = made[0].batches["train"]

        def epoch(trainer: Trainer, number: int) -> float:
            started = time.perf_counter()
            train_epoch(trainer, batches.shuffled(0, number, protocol.augmentation))  # noqa: B023 — called at once
            trainer.device.synchronize()
            return time.perf_counter() - started

        first = [epoch(trainer, 0) for trainer in trainers]
        pairs = [tuple(epoch(trainer, number) for trainer in trainers) for number in range(1, 1 + given.epochs)]
        eager, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(after / before for before, after in pairs)
        cost = first[1] - fast
        repaid = f"repaid after {math.ceil(cost / (eager - fast))} epochs" if fast < eager else "never repaid"
        print(
            f"{name}, {made[0].precision}: eager {eager:.2f} s, compiled {fast:.2f} s, ratio {ratio:.3f}; compiling "
            f"{cost:.0f} s, {repaid}",
            flush=True,
        )


if __name__ == "__main__":
    main()

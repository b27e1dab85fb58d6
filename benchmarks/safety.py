"""What being safe costs: the checkpoint of an epoch, and a process for each trial.

    python benchmarks/safety.py [MODEL] [--pictures 320] [--size 224]

A checkpoint (written, synchronised, with a digest) is taken after each of three epochs on so many pictures of noise;
printed is how long it takes, all of it, and how long training waits for it, as a share of an epoch on 5,000 such
pictures, which is to be at most 0.02. Then twenty pieces of work that do
nothing are done by the executor, each in a process of its own: seconds of each after the first, at most 0.5.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from pathlib import Path

import torch

from bench.events import Tell, tell_nobody
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.run.executors import follow
from bench.run.executors.local import Local
from bench.run.prepare import prepare_device, prepare_model
from bench.train.checkpoint import Writer
from bench.train.loop import Progress, make_trainer
from bench.train.state import copied, trained_state

EPOCHS, PICTURES, BATCH = 3, 5_000, 32


def nothing(emit: Tell) -> None:
    """The least work."""


def checkpoint_share(name: str, pictures: int, size: int) -> tuple[float, float, float, int]:
    """Seconds that training waits for a checkpoint, that it takes in all, and of an epoch on so many pictures; medians.
    And the checkpoint's bytes."""
    overrides = ["model.weights=scratch", "train.what=full", f"data.image_size={size}", f"train.batch_size={BATCH}"]
    protocol = load_protocol("cifar10", overrides)
    device, precision = prepare_device("cpu", protocol.train.precision)
    model = prepare_model(load_plugins().model(name), protocol, 10, 0, device)
    trainer = make_trainer(model, protocol, pictures // BATCH, precision, device)
    images, labels = torch.randn(BATCH, 3, size, size), torch.randint(0, 10, (BATCH,))
    trainer.step(images, labels)  # warm-up, and the optimizer's state
    progress, epochs, waits, checkpoints = Progress(), [], [], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.pt"
        for _ in range(EPOCHS):
            started = time.perf_counter()
            for _ in range(pictures // BATCH):
                trainer.step(images, labels)
            epochs.append(time.perf_counter() - started)
            started = time.perf_counter()
            with Writer(file) as writer:
                writer.write(trainer.checkpoint(progress, copied(trained_state(model))))
                waits.append(time.perf_counter() - started)
            checkpoints.append(time.perf_counter() - started)
        held = file.stat().st_size
    return statistics.median(waits), statistics.median(checkpoints), statistics.median(epochs), held


def main() -> None:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="deit_tiny_distilled")
    parser.add_argument("--pictures", type=int, default=320)
    parser.add_argument("--size", type=int, default=224)
    given = parser.parse_args()
    wait, checkpoint, epoch, held = checkpoint_share(given.model, given.pictures, given.size)
    whole = epoch * PICTURES / given.pictures
    print(f"{given.model}: training waits {wait:.3f} s for a checkpoint of {held / 1e6:.1f} MB, which takes")
    print(f"{checkpoint:.3f} s in its thread; an epoch on {PICTURES:,} pictures {whole:.1f} s (from {given.pictures}):")
    print(f"{1 + wait / whole:.5f} times the epoch alone, {1 + checkpoint / whole:.4f} were none of it beside training")
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        follow(Local().run(importlib.import_module(Path(__file__).stem).nothing), tell_nobody)
        seconds.append(time.perf_counter() - started)
    print(f"a process for each trial: {seconds[0]:.2f} s the first, then {statistics.median(seconds[1:]):.3f} s each")


if __name__ == "__main__":
    main()

"""More pictures than memory: what reading them from the disk costs, and how much memory it takes.

    python benchmarks/pictures.py [--pictures 200000] [--folder DIR] [--json]

Makes so many pictures of 224 x 224 in DIR (30 GB at 200,000; they stay for the next call), and prints

- the most resident memory of the process while a whole epoch of them is read in its shuffled order and prepared as
  images, without a model, and how many pictures a second that is;
- of training steps of DeiT-Tiny on that epoch, for which share of the time they waited for pictures;
- the seconds of an epoch of DeiT-Tiny on 1,024 of them, from the disk and from memory in turns, and their ratio.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bench need not be installed

import torch

from bench.data.batches import Batch, Batches, Preparation
from bench.data.cache import Stored
from bench.data.splits import Subset
from bench.device import Device
from bench.plugins import load_plugins
from bench.protocol import Augmentation, load_protocol
from bench.run.prepare import prepare_device, prepare_model
from bench.train.loop import Trainer, make_trainer, train_epoch

SIDE, BATCH, CLASSES = 224, 64, 10
STEPS, FEW, EPOCHS = 12, 1024, 3


def made(folder: Path, count: int) -> Stored:
    """So many pictures of coloured squares, written where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "train_images.npy"
    generator = np.random.default_rng(0)
    if not file.exists():
        with (folder / "part.npy").open("wb") as stream:  # a mapped file would count as the process's memory
            head = {"descr": "|u1", "fortran_order": False, "shape": (count, SIDE, SIDE, 3)}
            np.lib.format.write_array_header_1_0(stream, head)
            for start in range(0, count, 256):
                squares = generator.integers(0, 256, (min(256, count - start), 7, 7, 3), np.uint8)
                stream.write(squares.repeat(SIDE // 7, 1).repeat(SIDE // 7, 2).tobytes())
                print(f"\r{start + 256:,} of {count:,} pictures made", end="", file=sys.stderr)
        print(file=sys.stderr)
        (folder / "part.npy").rename(file)
    np.save(folder / "train_labels.npy", generator.integers(0, CLASSES, count))
    return Stored(str(folder), "squares", "", tuple(map(str, range(CLASSES))), {"train": count})


def batches(stored: Stored, count: int, *, in_memory: bool) -> Batches:
    """The first so many of them."""
    preparation = Preparation(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return Batches(stored, Subset("train", np.arange(count)), preparation, BATCH, Device("cpu"), in_memory=in_memory)


def trainer(steps: int) -> Trainer:
    """Of DeiT-Tiny, in the precision that this machine is fastest in."""
    protocol = load_protocol("imagenet-finetune", ["model.weights=scratch"])
    device, precision = prepare_device("cpu", "auto")
    model = prepare_model(load_plugins().model("deit_tiny_distilled"), protocol, CLASSES, 0, device)
    return make_trainer(model, protocol, steps, precision, device)


def waiting(epoch: Iterator[Batch], waited: list[float]) -> Iterator[Batch]:
    """The epoch, with the seconds that each batch was waited for."""
    while True:
        started = time.perf_counter()
        batch = next(epoch, None)
        waited.append(time.perf_counter() - started)
        if batch is None:
            return
        yield batch


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=Path("pictures-224"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    stored, augmentation = made(given.folder, given.pictures), Augmentation(flip=True)
    found: dict[str, Any] = {"pictures": given.pictures, "threads": torch.get_num_threads()}

    whole = batches(stored, given.pictures, in_memory=False)
    found["bytes"] = (given.folder / "train_images.npy").stat().st_size
    started = time.perf_counter()
    for number, _ in enumerate(whole.shuffled(0, 0, augmentation), start=1):
        if number % 64 == 0:
            print(f"\r{number * BATCH:,} pictures read", end="", file=sys.stderr)
    print(file=sys.stderr)
    found["pictures_a_second"] = number * BATCH / (time.perf_counter() - started)
    found["peak_resident_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    waited: list[float] = []
    own = trainer(whole.steps)
    started = time.perf_counter()
    train_epoch(own, waiting(itertools.islice(whole.shuffled(0, 1, augmentation), STEPS), waited))
    taken = time.perf_counter() - started
    # Preparing the images (to floats, normalised) takes the same from memory, and is no waiting.
    here = batches(stored, STEPS * BATCH, in_memory=True)
    prepared: list[float] = []
    for _ in waiting(here.shuffled(0, 1, augmentation), prepared):
        pass
    found["step_seconds"] = taken / STEPS
    found["waiting_share"] = max(0.0, sum(waited[1:]) - sum(prepared[1:])) / taken

    seconds: dict[bool, list[float]] = {True: [], False: []}
    sources = {where: batches(stored, FEW, in_memory=where) for where in (True, False)}
    own = trainer(sources[True].steps)
    for epoch in range(1 + EPOCHS):
        for where, source in sources.items():
            started = time.perf_counter()
            train_epoch(own, source.shuffled(0, epoch, augmentation))
            if epoch:  # the first warms up
                seconds[where].append(time.perf_counter() - started)
    found["epoch_in_memory"], found["epoch_from_disk"] = (statistics.median(seconds[where]) for where in (True, False))
    found["ratio"] = statistics.median(
        disk / memory for memory, disk in zip(seconds[True], seconds[False], strict=True)
    )
    if given.json:
        print(json.dumps(found))
        return
    print(f"{found['bytes'] / 1e9:.1f} GB, read with at most {found['peak_resident_bytes'] / 1e9:.2f} GB resident")
    print(f"{found['pictures_a_second']:,.0f} pictures a second, read and prepared without a model")
    print(f"DeiT-Tiny: {found['step_seconds']:.2f} s a step of {BATCH}, {found['waiting_share']:.1%} of it waiting")
    print(f"an epoch of {FEW}: memory {found['epoch_in_memory']:.1f} s, disk {found['epoch_from_disk']:.1f} s, "
          f"ratio {found['ratio']:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()

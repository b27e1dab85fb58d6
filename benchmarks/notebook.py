"""The study that bench grew from, both ways: as a notebook runs it, and through bench.

    python benchmarks/notebook.py --data DIR [MODEL…] [--seeds 0 1 2] [--epochs 10] [--no-flip]

DIR holds pictures as bench's `folder:` takes them (train/CLASS/…, test/CLASS/…); 640 are trained on, 70 validate, 500
test, the same in both ways. Both fine-tune the last block with the head of the protocol `cifar10` at 224 pixels, with
its optimizer and schedule, from the same initial weights (random: nothing is downloaded), each in a process of its
own, taking turns.

- The notebook's way: per-picture Pillow transforms in a DataLoader, the whole forward pass at every epoch, float32.
- bench's: as `python -m bench run` trains: decoded once, the frozen prefix's features computed once and kept in
  sixteen bits (`train.half_features`), the precision that the processor has.

Prints, for each: seconds until the last epoch's validation (decoding and features included, imports and the test
pictures left out), the peak of the process's resident memory, and the test top-1; the ratio of the seconds; and the
ratio that 50 epochs would have, computed from what does not repeat and the median epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.run.executors.patience import SPINS

SIZE, CLASSES, BATCH = 224, 10, 64
PER_CLASS = {"train": 64, "val": 7, "test": 50}
LONG = 50  # epochs, for the computed ratio


@dataclass(frozen=True)
class Outcome:
    """What one way took and reached; `epochs` are seconds, each with its validation."""

    seconds: float
    epochs: list[float]
    peak: int
    test_top1: float
    note: str

    def seconds_for(self, epochs: int) -> float:
        """For so many epochs: what does not repeat, and so many times the median epoch."""
        return self.seconds - sum(self.epochs) + epochs * statistics.median(self.epochs)


def in_a_notebook(name: str, pictures: Path, seed: int, epochs: int, flip: bool) -> Outcome:
    """As a notebook would train it; nothing of bench is used but its way to import torchvision."""
    from bench.models.torchvision_operators import import_torchvision

    import_torchvision()
    import timm
    import torch
    from torch import nn
    from torch.nn import functional
    from torchvision import datasets, transforms

    names = {"deit_tiny_distilled": "deit_tiny_distilled_patch16_224"}
    last_blocks = {"deit_tiny_distilled": "blocks.11", "densenet121": "features.denseblock4"}
    torch.manual_seed(seed)
    sized = {"img_size": SIZE} if "deit" in name else {}
    backbone = timm.create_model(names.get(name, name), num_classes=0, **sized)
    width = backbone.num_features
    head = nn.Sequential(
        nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, CLASSES),
    )  # fmt: skip
    model = nn.Sequential(backbone, head)
    trains = False
    for path, module in backbone.named_modules():
        if path == last_blocks[name]:
            trains = True
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(trains)
    frozen = [m for m in backbone.modules() if all(not p.requires_grad for p in m.parameters())]
    fixed_names = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}

    started = time.perf_counter()
    fixed = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    resize = transforms.Resize((SIZE, SIZE))
    augmented = [resize, transforms.RandomHorizontalFlip(), *fixed] if flip else [resize, *fixed]
    loaders = {
        part: torch.utils.data.DataLoader(
            datasets.ImageFolder(
                str(pictures / part), transforms.Compose(augmented if part == "train" else [resize, *fixed])
            ),
            batch_size=BATCH,
            shuffle=part == "train",
        )
        for part in PER_CLASS
    }
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def top1(part: str) -> float:
        model.eval()
        with torch.no_grad():
            return sum((model(images).argmax(1) == labels).sum().item() for images, labels in loaders[part]) / len(
                loaders[part].dataset
            )

    taken, best, best_state = [], -1.0, None
    for _ in range(epochs):
        since = time.perf_counter()
        model.train()
        for module in frozen:
            module.eval()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        schedule.step()
        reached = top1("val")
        if reached > best:
            best = reached
            best_state = {key: value.clone() for key, value in model.state_dict().items() if key not in fixed_names}
        taken.append(time.perf_counter() - since)
    seconds = time.perf_counter() - started
    model.load_state_dict(best_state, strict=False)
    return Outcome(seconds, taken, peak_memory(), top1("test"), "fp32")


def through_bench(name: str, pictures: Path, seed: int, epochs: int, flip: bool) -> Outcome:
    """As a trial of `python -m bench run` trains it."""
    from bench.data.cache import prepare as decode
    from bench.plugins import load_plugins
    from bench.protocol import load_protocol
    from bench.request import Place, TrialSpec
    from bench.run.prepare import prepare_batches, prepare_device, prepare_model
    from bench.train.loop import evaluate
    from bench.train.training import train

    changed = [
        "model.weights=scratch",
        f"train.epochs={epochs}",
        "train.patience=0",
        "train.half_features=true",
        f"augmentation.flip={flip}",
    ]
    protocol = load_protocol("cifar10", [text.lower() for text in changed])
    registry = load_plugins()
    asked = registry.model(name)
    device, precision = prepare_device("cpu", protocol.train.precision)
    model = prepare_model(asked, protocol, CLASSES, seed, device)

    started = time.perf_counter()
    dataset, location = registry.dataset(f"folder:{pictures}")
    stored = decode(dataset, location, SIZE)
    batches = prepare_batches(protocol, stored, model, device)
    since, taken = time.perf_counter(), []

    def epoch_ended(event: object) -> None:
        nonlocal since
        taken.append(time.perf_counter() - since)
        since = time.perf_counter()

    spec = TrialSpec(
        name,
        seed,
        protocol,
        stored,
        pictures.parent / "results",
        Place(device="cpu", working_directory=pictures.parent),
    )
    spec.folder.mkdir(parents=True)
    record = train(spec, asked, model, batches["train"], batches["val"], precision, epoch_ended)
    seconds = time.perf_counter() - started
    used = record.frozen_prefix or {}
    taken[0] -= used.get("seconds", 0.0)  # the features come before the first epoch
    peak = peak_memory()
    tested = evaluate(model, batches["test"], precision, device)
    note = f"{precision}, features {used.get('seconds', 0.0):.1f} s, {used.get('bytes', 0) / 1e6:.0f} MB"
    return Outcome(seconds, taken, peak, tested.top1, note)


def peak_memory() -> int:
    """The most bytes that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


WAYS = {"notebook": in_a_notebook, "bench": through_bench}


def choose_pictures(data: Path, to: Path) -> None:
    """A folder of so many pictures of each class: training and validation from `data`/train, test from `data`/test."""
    for part, count in PER_CLASS.items():
        skipped = PER_CLASS["train"] if part == "val" else 0
        for folder in sorted((data / ("test" if part == "test" else "train")).iterdir()):
            (to / part / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[skipped : skipped + count]:
                shutil.copy(file, to / part / folder.name)


def run_in_child(way: str, name: str, pictures: Path, seed: int, epochs: int, flip: bool) -> Outcome:
    """One way, in a process of its own, with a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "pictures"
        shutil.copytree(pictures, copied)
        command = [sys.executable, __file__, "--way", way, name, "--data", str(copied), "--seeds", str(seed)]
        command += ["--epochs", str(epochs), *([] if flip else ["--no-flip"])]
        # As bench's own executor sets it, for both: threads that wait for long disturb each other.
        environment = {"GOMP_SPINCOUNT": SPINS, **os.environ, "BENCH_CACHE": str(Path(folder) / "cache")}
        answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return Outcome(**json.loads(answer.stdout.splitlines()[-1]))


def compare(name: str, pictures: Path, seeds: list[int], epochs: int, flip: bool) -> None:
    """Run both ways with each seed, and print what they took and reached."""
    outcomes: dict[str, list[Outcome]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way, found in outcomes.items():
            found.append(run_in_child(way, name, pictures, seed, epochs, flip))
            last = found[-1]
            print(
                f"{name}, seed {seed}, {way}: {last.seconds:.1f} s, peak {last.peak / 1e6:.0f} MB, "
                f"test top-1 {100 * last.test_top1:.1f} %; {last.note}",
                flush=True,
            )
    slow, fast = outcomes["notebook"], outcomes["bench"]
    pairs = list(zip(slow, fast, strict=True))
    ratio = statistics.median(a.seconds / b.seconds for a, b in pairs)
    long = statistics.median(a.seconds_for(LONG) / b.seconds_for(LONG) for a, b in pairs)
    memory = statistics.median(b.peak / a.peak for a, b in pairs)
    reached = {
        way: f"{100 * statistics.mean(one.test_top1 for one in found):.1f} % "
        f"({min(100 * one.test_top1 for one in found):.1f} to {max(100 * one.test_top1 for one in found):.1f})"
        for way, found in outcomes.items()
    }
    print(
        f"{name}, {epochs} epochs{'' if flip else ', no flips'}: {ratio:.1f} times faster; {LONG} epochs, computed: "
        f"{long:.1f} times; memory {memory:.2f} times; test top-1 {reached['notebook']} against {reached['bench']}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["deit_tiny_distilled", "densenet121"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--no-flip", dest="flip", action="store_false")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        outcome = WAYS[asked.way](asked.models[0], asked.data, asked.seeds[0], asked.epochs, asked.flip)
        print(json.dumps(asdict(outcome)))
        return
    with tempfile.TemporaryDirectory() as folder:
        choose_pictures(asked.data, Path(folder) / "chosen")
        for name in asked.models:
            compare(name, Path(folder) / "chosen", asked.seeds, asked.epochs, asked.flip)


if __name__ == "__main__":
    main()

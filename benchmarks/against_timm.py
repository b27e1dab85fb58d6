"""The same training by timm's own train.py and by bench: seconds of an epoch, and accuracies.

    git clone --depth 1 https://github.com/huggingface/pytorch-image-models timm-repository
    python benchmarks/against_timm.py --train timm-repository/train.py --data DIR [MODEL…] [--seeds 0 1 2]

DIR holds pictures as bench's `folder:` takes them (train/CLASS/…, test/CLASS/…), of 32 pixels. 2,000 are trained on,
1,000 of the test pictures judge after each epoch, the same in both. timm's script runs with the timm that is
installed here; nothing of its repository but that file is used.

Both do the same arithmetic: bfloat16 by autocast, channels last, batches of 64, AdamW at 5e-4 with a weight decay of
0.05 on matrices and kernels alone, half a cosine stepped once a batch, labels smoothed by 0.1, no augmentation. They
take turns, seed by seed. timm decodes each picture anew in two worker processes, as it always does; bench once. Each
one's seconds of an epoch are its own word for them, training alone, without the first epoch of its process.

Prints both ones' seconds, the median ratio of the pairs, the top-1 after the last epoch by seed, and the difference of
the means with its 95 % interval (Welch's t).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SIZE, BATCH, PER_CLASS = 32, 64, {"train": 200, "test": 100}
RATE, DECAY, SMOOTHING = 5e-4, 0.05, 0.1
# By bench's name with its options: timm's, and what its script is told besides.
MODELS = {
    "densenet121": ("densenet121", []),
    "vit_tiny:patch_size=4": ("vit_tiny_patch16_224", ["--model-kwargs", f"img_size={SIZE}", "patch_size=4"]),
}
# Starts the script, where torchvision's own operators do not fit the installed torch, too: it needs none of them.
START = """import runpy, sys
from bench.models.torchvision_operators import import_torchvision
import_torchvision()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")"""
# Of the script's log, an epoch's last line: its number, which batch of how many (from 0), and its mean seconds.
LINE = re.compile(r"Train: (\d+) \[ *(\d+)/(\d+) .*?Time: .*?\((\d+\.\d+)s, ")


@dataclass(frozen=True)
class Outcome:
    """Seconds of each epoch but the first, and top-1 (0..1) after the last."""

    epochs: list[float]
    top1: float


def pictures(source: Path, target: Path) -> None:
    """Links to the first pictures of each class: train/ and test/, which is val/ and timm's validation/, too."""
    for part, count in PER_CLASS.items():
        for folder in sorted(one for one in (source / part).iterdir() if one.is_dir()):
            place = target / part / folder.name
            place.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                (place / file.name).symlink_to(file.resolve())
    for name in ("val", "validation"):
        (target / name).symlink_to(target / "test")


def by_timm(script: Path, model: str, data: Path, seed: int, epochs: int, folder: Path) -> Outcome:
    """By the script, in a process of its own."""
    name, more = MODELS[model]
    command = [
        sys.executable, "-c", START, str(script), str(data), "--device", "cpu", "--amp", "--amp-dtype", "bfloat16",
        "--channels-last", "--crop-pct", "1.0", "--model", name, "--num-classes", "10",
        "--input-size", "3", str(SIZE), str(SIZE), "-b", str(BATCH),
        "--no-aug", "--smoothing", str(SMOOTHING), "--opt", "adamw", "--lr", str(RATE), "--weight-decay", str(DECAY),
        "--sched", "cosine", "--sched-on-updates", "--warmup-epochs", "0", "--epochs", str(epochs),
        "--workers", "2", "--no-prefetcher", "--seed", str(seed), "--output", str(folder), "--experiment", "one", *more,
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if run.returncode:
        sys.exit(f"{' '.join(command)}\n{run.stdout}{run.stderr}")
    seconds: dict[int, float] = {}
    for epoch, batch, batches, mean in LINE.findall(run.stdout + run.stderr):
        if int(batch) + 1 == int(batches):
            seconds[int(epoch)] = int(batches) * float(mean)
    with (folder / "one" / "summary.csv").open() as file:
        top1 = float(list(csv.DictReader(file))[-1]["eval_top1"]) / 100
    return Outcome([seconds[epoch] for epoch in range(1, epochs)], top1)


def by_bench(model: str, data: Path, seed: int, epochs: int, folder: Path) -> Outcome:
    """By `python -m bench run`."""
    settings = [
        f"train.epochs={epochs}", f"train.batch_size={BATCH}", f"optimizer.learning_rate={RATE}",
        f"optimizer.weight_decay={DECAY}", "optimizer.clip_norm=0", "schedule.name=cosine", "augmentation.flip=false",
        "augmentation.crop=0", f"loss.label_smoothing={SMOOTHING}", "train.precision=bf16", "name=against-timm",
    ]  # fmt: skip
    command = [
        sys.executable, "-m", "bench", "run", model, "--protocol", "cifar10-scratch", "--data", f"folder:{data}",
        "--seed", str(seed), "--no-timing", "--no-keep-weights", "--results", str(folder),
        *(part for one in settings for part in ("--set", one)),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    (file,) = folder.glob("against-timm*/*/seed*/record.json")
    record = json.loads(file.read_text())
    if run.returncode or record["status"] != "ok":
        sys.exit(f"{run.stdout}{run.stderr}")
    training = record["training"]
    return Outcome(training["epoch_seconds"][1:], training["history"]["val_top1"][-1])


def compare(script: Path, model: str, data: Path, seeds: list[int], epochs: int) -> None:
    """Run both in turns, and print what they took and reached."""
    found: list[tuple[Outcome, Outcome]] = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as of_timm, tempfile.TemporaryDirectory() as of_bench:
            theirs = by_timm(script, model, data, seed, epochs, Path(of_timm))
            found.append((theirs, by_bench(model, data, seed, epochs, Path(of_bench))))
    theirs, ours = ([statistics.median(one.epochs) for one in way] for way in zip(*found, strict=True))
    ratio = statistics.median(b / a for a, b in zip(theirs, ours, strict=True))
    print(f"{model}: s/epoch by timm {_list(theirs)}, by bench {_list(ours)}; ratio {ratio:.3f}")
    theirs, ours = ([100 * one.top1 for one in way] for way in zip(*found, strict=True))
    print(f"{model}: top-1 by timm {_list(theirs)} %, by bench {_list(ours)} %{_difference(theirs, ours)}", flush=True)


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _difference(theirs: list[float], ours: list[float]) -> str:
    """Of the means, with Welch's 95 % interval; empty for one seed."""
    if len(ours) < 2:
        return ""
    from scipy.stats import ttest_ind

    low, high = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    difference = statistics.mean(ours) - statistics.mean(theirs)
    return f"; bench − timm {difference:+.2f} [{low:+.2f}, {high:+.2f}] points"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--train", type=Path, required=True, help="timm's train.py")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    if unknown := sorted(set(given.models) - MODELS.keys()):
        parser.error(f"no such model here: {', '.join(unknown)}; there are {', '.join(MODELS)}")
    if not given.train.is_file():
        parser.error(f"{given.train} is no file; get it by git clone, as above")
    if not all((given.data / part).is_dir() for part in PER_CLASS):
        parser.error(f"{given.data} has no folders train/ and test/")
    if given.epochs < 2:
        parser.error("--epochs: 2 or more, for the first is not timed")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores; load before it began {load:.2f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pictures(given.data, Path(folder))
        for model in given.models:
            compare(given.train.resolve(), model, Path(folder), given.seeds, given.epochs)


if __name__ == "__main__":
    main()

"""What `run --plan` foresees, against what is then measured: time and memory of each trial, and the whole.

    python benchmarks/estimates.py quick
    python benchmarks/estimates.py large --data folder:DIR      # real pictures at 224 pixels
    python benchmarks/estimates.py --into results/reference/estimates.md …

Plans in an empty folder, where nothing is known but a few measured steps, then runs; then plans another seed of the
same, by the trials that there are by now, and runs that. On an idle machine: what others take is in no estimate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEPS = {
    "quick": ["--all", "--protocol", "quick"],
    "large": ["vit_tiny", "deit_tiny_distilled", "efficientnet_lite0", "densenet121", "--protocol", "imagenet-finetune",
              "--set", "model.weights=scratch", "--set", "train.limit=320", "--set", "data.validation=100",
              "--set", "data.test_limit=100", "--set", "train.epochs=2", "--set", "train.batch_size=16"],
}  # fmt: skip
NAMES = {"quick": "`quick`, all models, 32 pixels", "large": "four models at 224 pixels, 320 real pictures, 2 epochs"}


def bench(*arguments: str, folder: str) -> Any:
    """What the command prints as JSON."""
    command = [sys.executable, "-m", "bench", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def compared(command: list[str], seed: int, folder: str) -> tuple[list[dict[str, Any]], str]:
    """A row for each trial, and a line for the whole."""
    given = ["run", *command, "--seed", str(seed)]
    plan = bench(*given, "--plan", folder=folder)
    began = time.perf_counter()
    ran = bench(*given, folder=folder)
    took = time.perf_counter() - began
    records = {(one["model"]["name"], one["seed"]): one for one in ran["records"]}
    rows = []
    for one in plan["trials"]:
        record = records[one["model"], one["seed"]]
        peak = record["efficiency"]["memory"]["train_peak"]
        row = {"model": one["model"], "by": one["basis"]}
        row |= {
            "foreseen s": one["seconds"],
            "measured s": record["seconds"],
            "time": one["seconds"] / record["seconds"],
        }
        row |= {"foreseen MB": one["peak_bytes"] / 1e6, "measured MB": peak / 1e6, "memory": one["peak_bytes"] / peak}
        rows.append(row)
    whole = f"The whole: {plan['seconds']:.0f} s foreseen, {took:.0f} s taken ({plan['seconds'] / took:.2f})."
    return rows, whole


def main() -> None:
    """Print the tables, or write them into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", choices=SWEEPS, nargs="+")
    parser.add_argument("--data", default="folder:cifar10-jpeg", help="the pictures of the large one")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args()
    from tabulate import tabulate

    about = "By `python benchmarks/estimates.py`, on two idle cores. Aim: time within 20 %, memory within 10 %."
    parts = ["# What `run --plan` foresees, and what was then measured", about]
    for sweep in asked.sweep:
        command = [*SWEEPS[sweep], *(["--data", asked.data] if sweep == "large" else [])]
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(asked.seeds):
                rows, whole = compared(command, seed, folder)
                parts += [f"## {NAMES[sweep]}, seed {seed}", tabulate(rows, "keys", "github", floatfmt=".2f"), whole]
                print("\n\n".join(parts[-3:]), flush=True)
    if asked.into is not None:
        asked.into.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()

"""Ten thousand trials on 1 to 512 devices, simulated: how long until all are done, against the best there can be.

    python benchmarks/makespan.py [--trials 10000] [--json]

Trials take lognormal times (half of them between 3 and 12 minutes, one in a hundred over 80), and are begun as `run`
begins them: longest first by their estimates, each in the device that is free first. Estimates are off as those of a
few measured steps (95 % of them by less than 20 %), or not at all, or there are none and trials begin in any order. The
best there can be is the mean load of the devices, or the longest trial where that is more: no schedule ends before.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bench need not be installed

from bench.run.estimates import STEPS, makespan

DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def main() -> None:
    """Print a row for each number of devices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    seconds = random.lognormal(np.log(360.0), 1.03, asked.trials)
    off = seconds * (1 + STEPS / 2 * random.standard_normal(asked.trials))  # 95 % within 20 %
    orders = {"exact": np.argsort(-seconds), "estimated": np.argsort(-off), "in any order": np.arange(asked.trials)}
    rows = []
    for devices in DEVICES:
        least = max(seconds.sum() / devices, seconds.max())
        ratios = {name: makespan(seconds[order].tolist(), devices) / least for name, order in orders.items()}
        rows.append({"devices": devices, "hours at least": round(least / 3600, 2), **ratios})
    if asked.json:
        print(json.dumps(rows, indent=1))
        return
    from tabulate import tabulate

    print(tabulate(rows, headers="keys", floatfmt=".4f", tablefmt="github"))


if __name__ == "__main__":
    main()

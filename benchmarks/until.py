"""How often the interval of a mean over seeds covers it, where `run --until` added seeds until it was narrow.

    python benchmarks/until.py [--draws 20000] [--json]

Seeds are drawn from a normal distribution and looked at one by one, as `run --until` does, by bench's own rule and
interval. Printed are, for each `--max-seeds` and each standard deviation between seeds as a multiple of the width that
was asked for, the mean number of seeds, and in which per cent of the draws the interval that is shown covers the true
mean: by the rule, and by what one would do without it (to look from three seeds on whether Student's interval is
narrow, and show that).

Then, of two equal models whose seeds are added so, each until its own mean is known to within a point: in which per
cent of the draws the test of their difference, by the seeds that both have, says p < 0.05. docs/statistics.md has the
tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bench need not be installed

from error_rates import drawn

from bench.records.quantities import BY_KEY
from bench.report.judge.intervals import SEEDS, half_interval
from bench.report.judge.paired import LEVEL, agreement, paired_difference, seed_noise
from bench.report.judge.seeds import FEWEST, Until

MOST, DEVIATIONS = (10, 20, 50), (0.2, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0)


def stopped(values: Sequence[float], fewest: int, narrow: Callable[[Sequence[float]], bool]) -> Sequence[float]:
    """The values up to where one stops."""
    for count in range(fewest, len(values)):
        if narrow(values[:count]):
            return values[:count]
    return values


def coverage(most: int, deviation: float, draws: int) -> dict[str, float]:
    """Mean number of seeds, and coverage by the rule and without it; the width that is asked for is 1."""
    generator, until = np.random.default_rng(0), Until(BY_KEY["accuracy"], 1.0)
    seeds = covered = naive = 0
    for _ in range(draws):
        values = (deviation * generator.standard_normal(most)).tolist()
        own = stopped(values, FEWEST, until.narrow)
        seeds += len(own)
        covered += abs(sum(own) / len(own)) <= max(half_interval(own), until.half)
        own = stopped(values, SEEDS, lambda some: half_interval(some) <= 1.0)
        naive += abs(sum(own) / len(own)) <= half_interval(own)
    return {"seeds": seeds / draws, "covered": 100 * covered / draws, "without": 100 * naive / draws}


def pair(deviation: float, draws: int, most: int = 20, pictures: int = 2000, top1: float = 0.9) -> dict[str, float]:
    """Of two equal models: mean number of seeds that both have, and how often they are told apart."""
    generator, until = np.random.default_rng(0), Until(BY_KEY["accuracy"], 1.0)
    seeds = apart = 0
    for _ in range(draws):
        right = drawn(generator, 2, most, pictures, top1, np.full(2, deviation))
        tops = right.mean(1).reshape(2, most)
        counts = [len(stopped((100 * one).tolist(), FEWEST, until.narrow)) for one in tops]
        common = min(counts)
        noise = seed_noise([dict(enumerate(one[:count].tolist())) for one, count in zip(tops, counts, strict=True)])
        rows = [list(range(common)), list(range(most, most + common))]
        seeds += common
        apart += paired_difference(agreement(right), pictures, *rows, noise).p < LEVEL
    return {"seeds": seeds / draws, "apart": 100 * apart / draws}


def main() -> None:
    """Print the tables, a line a case, as it is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    lines = []
    for most in MOST:
        for deviation in DEVIATIONS:
            found = coverage(most, deviation, given.draws)
            lines.append({"max_seeds": most, "sd": deviation, **found})
            if not given.json:
                told = (f"{found[key]:.1f}" for key in ("seeds", "covered", "without"))
                print(f"| {most} | {deviation:g} |", " | ".join(told), "|", flush=True)
    for deviation in (0.5, 1.0, 2.0):
        found = pair(deviation, given.draws // 10)
        lines.append({"pair": True, "sd": deviation, **found})
        if not given.json:
            print(f"| pair | {deviation:g} | {found['seeds']:.1f} | {found['apart']:.1f} |", flush=True)
    if given.json:
        print(json.dumps(lines))


if __name__ == "__main__":
    main()

"""How often bench's test of accuracy sees a difference where there is none, and misses one where there is.

    python benchmarks/error_rates.py [--quick] [--draws 1000] [--json]

Models, seeds and pictures are drawn (probit: a picture's difficulty, a picture's for one model, a seed's for one
model, and chance; the same on average for all models), and judged by bench's own functions, as tables, findings,
`compare` and the page are. Printed are, for each number of seeds, models and pictures, and each standard deviation
between seeds (points of top-1), in which per cent of the draws

- a pair of equal models has p < 0.05 (pair), before any correction;
- any of the pairs of equal models is told apart (family), after Holm's;
- the last model, which is 3 and 7 points worse, is told from the first after Holm's (power).

`--quick` draws fewer. docs/statistics.md has the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bench need not be installed

from bench.report.judge.paired import LEVEL, agreement, holm, paired_difference, seed_noise

SEEDS, MODELS, DEVIATIONS, PICTURES, TOP1 = (
    (2, 3, 5),
    (2, 6, 12),
    (0.0, 0.5, 1.0, 2.0),
    (360, 2000, 10_000),
    (0.42, 0.95),
)
# Standard deviations of the probit's parts: a picture's difficulty, the same for one model, chance.
DIFFICULTY, OWN, CHANCE = 1.5, 0.7, 0.7


def drawn(
    generator: np.random.Generator,
    models: int,
    seeds: int,
    pictures: int,
    top1: float,
    deviation: np.ndarray,
    worse: float = 0.0,
) -> np.ndarray:
    """Which pictures each trial gets right, (models * seeds, pictures); the last model is `worse` by so many points."""
    from scipy.special import ndtr, ndtri

    whole = math.sqrt(DIFFICULTY**2 + OWN**2 + CHANCE**2)
    centre = ndtri(top1)
    slope = whole * math.sqrt(2 * math.pi) * math.exp(centre**2 / 2) / 100  # of the threshold, for a point
    level = np.full((models, 1, 1), whole * centre)
    level[-1] = whole * ndtri(top1 - worse / 100)
    level = level + slope * deviation[:, None, None] * generator.standard_normal((models, seeds, 1))
    own = OWN * generator.standard_normal((models, 1, pictures), dtype=np.float32)
    difficulty = DIFFICULTY * generator.standard_normal((1, 1, pictures), dtype=np.float32)
    chance = ndtr((level + own + difficulty) / CHANCE)
    right: np.ndarray = generator.random((models, seeds, pictures), dtype=np.float32) < chance
    return right.reshape(models * seeds, pictures)


def p_values(right: np.ndarray, models: int, seeds: int) -> list[float]:
    """Of each pair of models, as bench finds it before any correction."""
    both, pictures = agreement(right), right.shape[1]
    top1 = right.mean(1).reshape(models, seeds)
    noise = seed_noise([dict(enumerate(one)) for one in top1.tolist()])
    rows = np.arange(models * seeds).reshape(models, seeds)
    return [
        paired_difference(both, pictures, rows[a].tolist(), rows[b].tolist(), noise).p
        for a, b in itertools.combinations(range(models), 2)
    ]


def rates(
    models: int, seeds: int, pictures: int, top1: float, deviation: np.ndarray, draws: int, seed: int = 0
) -> dict[str, float]:
    """Shares of the draws: `pair`, `family`, `power3`, `power7`; see above."""
    generator = np.random.default_rng(seed)
    pair = family = 0
    power = {3: 0, 7: 0}
    for _ in range(draws):
        found = p_values(drawn(generator, models, seeds, pictures, top1, deviation), models, seeds)
        pair += found[0] < LEVEL
        family += min(holm(found)) < LEVEL
    apart = [(0, models - 1) == pair for pair in itertools.combinations(range(models), 2)].index(True)
    few = max(draws // 5, 20)
    for points in power:
        for _ in range(few):
            found = p_values(drawn(generator, models, seeds, pictures, top1, deviation, points), models, seeds)
            power[points] += holm(found)[apart] < LEVEL
    return {"pair": pair / draws, "family": family / draws, **{f"power{key}": n / few for key, n in power.items()}}


def cases(quick: bool) -> Iterator[tuple[int, int, int, float, float]]:
    """Seeds, models, pictures, top-1 and the standard deviation between seeds."""
    for seeds, models, pictures, top1, deviation in itertools.product(SEEDS, MODELS, PICTURES, TOP1, DEVIATIONS):
        if not quick or (pictures < 10_000 and models < 12):
            yield seeds, models, pictures, top1, deviation


def main() -> None:
    """Print the table, a line a case, as it is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.json:
        print("| seeds | models | pictures | top-1 | sd | pair % | family % | power 3 points | power 7 points |")
        print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for seeds, models, pictures, top1, deviation in cases(options.quick):
        # A case of the largest has a hundred times the pictures of the smallest: fewer draws, which do for its size.
        draws = max(200, int(options.draws * min(1.0, 5e4 / (seeds * models * pictures))))
        draws = draws // 5 if options.quick else draws
        found = rates(models, seeds, pictures, top1, np.full(models, deviation), draws)
        case = {"seeds": seeds, "models": models, "pictures": pictures, "top1": top1, "sd": deviation, "draws": draws}
        if options.json:
            print(json.dumps(case | found), flush=True)
        else:
            print(
                f"| {seeds} | {models} | {pictures:,} | {top1} | {deviation} | {100 * found['pair']:.1f} "
                f"| {100 * found['family']:.1f} | {100 * found['power3']:.0f} | {100 * found['power7']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""How often a report says that an extension pays, costs, or cannot be told, given what it truly loses.

    python benchmarks/extension_verdicts.py [--draws 1000]

Two models are drawn as in error_rates.py, of which the second, the extended one, saves MACs and is truly so many points
worse; they are judged by bench's own functions. Printed are the shares of the draws: pays / costs / cannot tell.
Where it truly loses report/judge/extended.py's margin, "pays" is wrong; where it loses nothing, "costs" is.
docs/statistics.md has the table.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bench need not be installed

from error_rates import drawn

from bench.report.judge.extended import MARGIN, Change, Ratio
from bench.report.judge.paired import LEVEL, Difference, agreement, paired_difference, seed_noise
from bench.report.judge.verdict import Verdict

LOSSES = (0.0, MARGIN, 3.0)
SEEDS, DEVIATIONS, PICTURES, TOP1 = (1, 3, 5), (0.0, 1.0), (360, 2000, 10_000), 0.9


def judged(found: Difference) -> str:
    """What a report of these two models says, of which the extended one needs half of the MACs."""
    outcome = "tie" if found.p >= LEVEL else "better" if found.value > 0 else "worse"
    verdict = Verdict(outcome, 100 * found.value, 100 * found.low, 100 * found.high, found.p, 1)  # type: ignore[arg-type]
    return Change(1, 0, verdict, {"gmacs": Ratio(0.5)}).outcome


def rates(seeds: int, pictures: int, deviation: float, loss: float, draws: int) -> Counter[str]:
    """How often each outcome comes."""
    generator, counted = np.random.default_rng(0), Counter[str]()
    rows = np.arange(2 * seeds).reshape(2, seeds)
    for _ in range(draws):
        right = drawn(generator, 2, seeds, pictures, TOP1, np.full(2, deviation), loss)
        top1 = right.mean(1).reshape(2, seeds)
        noise = seed_noise([dict(enumerate(one)) for one in top1.tolist()]) if seeds > 1 else None
        found = paired_difference(agreement(right), pictures, rows[1].tolist(), rows[0].tolist(), noise)
        counted[judged(found)] += 1
    return counted


def main() -> None:
    """Print the table, a line a case, as it is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    print(f"| seeds | pictures | sd | {' | '.join(f'loses {loss:g} points' for loss in LOSSES)} |")
    print("|--:|--:|--:|" + "--:|" * len(LOSSES))
    for seeds, pictures, deviation in itertools.product(SEEDS, PICTURES, DEVIATIONS):
        cells = []
        for loss in LOSSES:
            found = rates(seeds, pictures, deviation, loss, draws)
            cells.append(" / ".join(f"{100 * found[one] / draws:.1f}" for one in ("pays", "costs", "cannot tell")))
        print(f"| {seeds} | {pictures:,} | {deviation} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

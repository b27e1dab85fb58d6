"""How often the rule for times sees a difference where there is none, and misses one where there is.

    python benchmarks/verdicts.py

Six models with log-normal times of 8 rounds a session (sd 10 %), sessions that move by so much (sd of the logarithm);
in which per cent of 4,000 draws p < 0.05 for the first two, before any correction:

    sessions   sd between | alike   1.1 times   1.3 times   2 times as slow
           1         0.00 |   0.0         0.0         0.0       0.4
           1         0.05 |   0.0         0.0         0.0       3.8
           1         0.10 |   0.0         0.0         0.0      15.2
           1         0.31 |   5.3         5.9         9.9      36.1
           2         0.00 |   0.0         3.0        97.1     100.0
           2         0.05 |   0.7         9.0        86.2     100.0
           2         0.10 |   3.8         9.3        51.6     100.0
           2         0.31 |   4.6         5.5        10.9      46.2
           3         0.00 |   0.0         8.0        99.9     100.0
           3         0.05 |   0.5        18.0        98.4     100.0
           3         0.10 |   3.6        15.6        77.5     100.0
           3         0.31 |   4.2         5.7        16.2      70.7
           5         0.00 |   0.0        26.7       100.0     100.0
           5         0.05 |   0.8        33.5       100.0     100.0
           5         0.10 |   4.3        26.0        96.5     100.0
           5         0.31 |   4.7         7.2        24.2      93.2

So where there is no difference, the rule says so in 95 % or more, however much the machine moves. With one session it
is nearly blind, as it has to be: nothing measured tells a slow model from a slow hour. With two it sees 30 % on a
machine that moves by 5 %.
"""

from __future__ import annotations

import math
import statistics

import numpy as np

from bench.records.median import median_interval
from bench.report.judge.paired import LEVEL
from bench.report.judge.times import Sessions, ratio, spread

DRAWS, ROUNDS, WITHIN, MODELS = 4000, 8, 0.1, 6


def drawn(generator: np.random.Generator, sessions: int, between: float, slower: float = 1.0) -> Sessions:
    """One model's sessions, each the median of its rounds."""
    levels = generator.normal(math.log(slower), between, (sessions, 1))
    rounds = np.exp(levels + generator.normal(0, WITHIN, (sessions, ROUNDS)))
    widths = [math.log(high / low) for low, high in filter(None, map(median_interval, rounds.tolist()))]
    within = statistics.fmean((width / (2 * 1.96)) ** 2 for width in widths)
    return Sessions(tuple(math.log(statistics.median(one)) for one in rounds.tolist()), within)


def alarms(sessions: int, between: float, slower: float = 1.0) -> float:
    """In which share of the draws the first model is told apart from the second, which is slower by that factor."""
    generator, found = np.random.default_rng(0), 0
    for _ in range(DRAWS):
        models = [drawn(generator, sessions, between, slower if one == 1 else 1.0) for one in range(MODELS)]
        known = ratio(models[0], models[1], spread(models))
        found += known is not None and known.p < LEVEL
    return found / DRAWS


def main() -> None:
    """Print the table."""
    print("sessions   sd between | alike   1.1 times   1.3 times   2 times as slow")
    for sessions in (1, 2, 3, 5):
        for between in (0.0, 0.05, 0.1, 0.31):
            shares = [100 * alarms(sessions, between, slower) for slower in (1.0, 1.1, 1.3, 2.0)]
            print(
                f"{sessions:8} {between:12.2f} | {shares[0]:5.1f} {shares[1]:11.1f} {shares[2]:11.1f} {shares[3]:9.1f}"
            )


if __name__ == "__main__":
    main()

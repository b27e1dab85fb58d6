"""How often does `compare` call B worse where A and B are two trainings of one model?

    python benchmarks/gate.py [--draws 1000]     # simulated
    python benchmarks/gate.py --real             # trained: six copies of one network, three seeds each

Simulated (as benchmarks/error_rates.py draws trials): of so many draws of two models, in which per cent the gate
closes (worse), stays open (not worse) or cannot tell, by seeds, pictures, the seeds' standard deviation in points,
and how many points B really is worse. Real: the same network under six names, each of which starts from other random
weights, is trained by the real command; then the real command compares each with each, both ways.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))  # bench need not be installed
sys.path.insert(0, str(CHECKOUT / "benchmarks"))

from error_rates import drawn  # noqa: E402

from bench.records.quantities import BY_KEY  # noqa: E402
from bench.report.judge.change import Change  # noqa: E402
from bench.report.judge.compare import POINTS  # noqa: E402
from bench.report.judge.paired import LEVEL, agreement, paired_difference, seed_noise  # noqa: E402
from bench.report.judge.verdict import Verdict  # noqa: E402

SEEDS, PICTURES, DEVIATIONS, WORSE = (1, 2, 3, 5), (360, 2000, 10_000), (0.0, 0.8, 2.0), (0, 1, 2, 5)
TOP1 = 0.9
COPIES = 6
PLUGIN = """
from bench import ModelSpec, hookimpl


def copy_of(number):
    def build(*, num_classes, image_size, pretrained):
        import torch
        from torch import nn

        torch.randn(16 * number)  # each copy starts from other weights
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
            nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )

    return build


@hookimpl
def bench_models():
    for number in range(COPIES):
        yield ModelSpec(f"copy{number}", copy_of(number), family="cnn")
"""


def outcome(right: np.ndarray, seeds: int) -> str:
    """What the gate says of B, the second model's trials, against A."""
    top1 = 100 * right.mean(1).reshape(2, seeds)
    noise = seed_noise([dict(enumerate((one / 100).tolist())) for one in top1])
    b, a = list(range(seeds, 2 * seeds)), list(range(seeds))
    found = paired_difference(agreement(right), right.shape[1], b, a, noise)
    decided = "tie" if found.p >= LEVEL else "better" if found.value > 0 else "worse"
    verdict = Verdict(decided, 100 * found.value, 100 * found.low, 100 * found.high, found.p, 1, seeds=seeds)
    change = Change(BY_KEY["accuracy"], float(top1[0].mean()), float(top1[1].mean()), verdict, POINTS)
    return str(change.outcome)


def simulate(draws: int) -> None:
    """Print the table."""
    generator = np.random.default_rng(0)
    print("| seeds | pictures | sd | " + " | ".join(f"B {worse} worse: worse / not / ? %" for worse in WORSE) + " |")
    print("|--:|--:|--:|" + "--:|" * len(WORSE))
    for seeds, pictures, deviation in itertools.product(SEEDS, PICTURES, DEVIATIONS):
        cells = []
        for worse in WORSE:
            count = max(200, int(draws * min(1.0, 2e4 / (seeds * pictures))))
            found = collections.Counter(
                outcome(drawn(generator, 2, seeds, pictures, TOP1, np.full(2, deviation), worse), seeds)
                for _ in range(count)
            )
            shares = [100 * found[one] / count for one in ("worse", "not worse", "cannot tell")]
            cells.append(" / ".join(f"{share:.1f}" for share in shares))
        print(f"| {seeds} | {pictures:,} | {deviation} | {' | '.join(cells)} |", flush=True)


def train_and_compare() -> None:
    """Print what the real command says of each pair of copies."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "plugins").mkdir()
        (place / "plugins" / "copies.py").write_text(PLUGIN.replace("COPIES", str(COPIES)))
        names = [f"copy{number}" for number in range(COPIES)]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}

        def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "bench", *arguments]
            return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)

        seeds = [text for seed in range(3) for text in ("--seed", str(seed))]
        short = [
            "--set",
            "train.epochs=8",
            "--set",
            "optimizer.learning_rate=0.003",
            "--set",
            "name=copies",
            "--no-timing",
        ]
        done = bench("run", *names, "--protocol", "quick", *seeds, *short)
        if done.returncode:
            sys.exit(done.stderr)
        outcomes: collections.Counter[str] = collections.Counter()
        for a, b in itertools.permutations(names, 2):
            found = bench("compare", a, b, "--json")
            said = json.loads(found.stdout)["outcome"]
            outcomes[f"{said} (exit {found.returncode})"] += 1
        print(done.stdout)
        print(f"{sum(outcomes.values())} ordered pairs: {dict(outcomes)}")


def main() -> None:
    """Simulated, or real."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--real", action="store_true")
    options = parser.parse_args()
    train_and_compare() if options.real else simulate(options.draws)


if __name__ == "__main__":
    main()

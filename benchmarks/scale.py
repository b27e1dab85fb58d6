"""A thousand trivial trials, on this machine and through Ray: what each costs beside its work, and what is kept of it.

    python benchmarks/scale.py                  # both, 1,000 trials each
    python benchmarks/scale.py --trials 100 --executor local

A trial's work is what its record says that it took; all else (its process, its page, the run's own doing) is overhead:
the time that a trial has of its slot, less its work. Two run at a time, since nothing is timed of trials that share a
device, which would take most of them. Memory is the resident memory of the process that the user started.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

JOBS = 2
PLUGIN = """
from bench import ModelSpec, hookimpl

def build(*, num_classes, image_size, pretrained, number=0):
    from torch import nn
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())

@hookimpl
def bench_models():
    yield ModelSpec("trivial", build, family="mlp")
"""
PROTOCOL = """
name = "trivial"
seeds = [0]
data = { dataset = "digits", image_size = 8, validation = 20, test_limit = 20 }
model = { weights = "scratch" }
optimizer = { name = "sgd", learning_rate = 0.01 }
schedule = { name = "constant" }
train = { what = "full", epochs = 1, batch_size = 32, precision = "fp32", limit = 32 }
"""


def one(executor: str, trials: int, per_model: int) -> dict[str, float]:
    """Run so many trials through that executor in this process: seconds a trial, MB after a tenth and at the end."""
    from bench import api
    from bench.events import Event, TrialEnded

    process, resident, ended = psutil.Process(), list[int](), list[float]()

    def tell(event: Event) -> None:
        if isinstance(event, TrialEnded):
            assert event.status == "ok", event.message
            ended.append(time.perf_counter())
            resident.append(process.memory_info().rss)

    # Some of them a model, as sweeps have: several models and several seeds.
    models = [f"trivial:number={number}" for number in range(trials // per_model)]
    outcome = api.run(
        models, protocol="trivial.toml", seeds=range(per_model), executor=executor, jobs=JOBS, timing=False, tell=tell,
        device="cpu", keep_weights=False,
    )  # fmt: skip
    assert len(outcome.records) == trials
    work = [record.seconds for record in outcome.records]

    def overhead(first: int, last: int) -> float:
        """Of those between two ends: the slots' time of each, less its work."""
        return JOBS * (ended[last] - ended[first]) / (last - first) - statistics.mean(work[first + 1 : last + 1])

    tenth = trials // 10
    return {
        "trials": trials,
        "work": statistics.mean(work),
        "overhead": overhead(JOBS, trials - JOBS),
        "overhead of the first tenth": overhead(JOBS, tenth + JOBS),
        "overhead of the last tenth": overhead(trials - JOBS - tenth, trials - JOBS),
        "MB after a tenth": resident[tenth] / 1e6,
        "MB at the end": resident[-1] / 1e6,
    }


def main() -> None:
    """Each executor in a process and a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=10, help="of each model")
    parser.add_argument("--executor", choices=("local", "ray"), action="append")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(one(asked.executor[0], asked.trials, asked.seeds)))
        return
    for executor in asked.executor or ("local", "ray"):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "plugins").mkdir()
            (Path(folder) / "plugins" / "trivial.py").write_text(PLUGIN)
            (Path(folder) / "trivial.toml").write_text(PROTOCOL)
            command = [sys.executable, __file__, "--here", "--executor", executor]
            command += ["--trials", str(asked.trials), "--seeds", str(asked.seeds)]
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
            )
            if done.returncode:
                sys.exit(done.returncode)
            found = json.loads(done.stdout)
            print(f"{executor}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()

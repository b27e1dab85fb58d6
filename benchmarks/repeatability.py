"""How repeatable is a latency, measured while another process loads one core?

    python benchmarks/repeatability.py [--repeats 10] [--quiet] [--spinning] [--json]

Measures two models ten times, each time in a new process, beside a process that never rests. Printed are
- how often the 95 % intervals of two runs overlap: at least 95 % of the pairs should;
- how far the ratio of the two models, measured in interleaved rounds, moves: within 5 %;
- beside them a plain loop's means: 10 iterations to warm up, 40 timed, one model after the other, as timm's
  benchmark script does it.

`--quiet` leaves the other process out. `--spinning` lets waiting threads spin (OpenMP's default) instead of
sleep, for both ways of measuring.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

MODELS = ("deit_tiny_patch16_224", "resnet18")
IMAGE_SIZE = 224


def measure_once() -> dict[str, Any]:
    """Both ways in this process: bench's latencies with their ratio, and the plain loop's means in milliseconds."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bench need not be installed
    import torch

    from bench.device import Device
    from bench.measure.latency import latency_ratio, measure_latency
    from bench.measure.subject import Inference, InferenceOptions
    from bench.models.torchvision_operators import import_torchvision

    import_torchvision()
    import timm

    device = Device("cpu")
    torch.manual_seed(0)
    runs: dict[str, Callable[[], object]] = {
        name: Inference(timm.create_model(name), IMAGE_SIZE, device, InferenceOptions()).with_batch(1)
        for name in MODELS
    }
    found = measure_latency(runs, device)
    return {
        "bench": {name: latency.as_dict() for name, latency in found.items()},
        "ratio": latency_ratio(*(found[name] for name in MODELS)).median,
        "plain": {name: plain_loop(run) for name, run in runs.items()},
    }


def plain_loop(run: Callable[[], object]) -> float:
    """Mean milliseconds of 40 iterations after 10."""
    for _ in range(10):
        run()
    start = time.perf_counter()
    for _ in range(40):
        run()
    return (time.perf_counter() - start) / 40 * 1e3


@contextlib.contextmanager
def one_core_loaded(loaded: bool) -> Iterator[None]:
    """Another process that computes without end, unless not `loaded`."""
    if not loaded:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def overlapping(intervals: Sequence[Sequence[float]]) -> float:
    """The share of pairs of intervals that overlap."""
    pairs = list(itertools.combinations(intervals, 2))
    return sum(a[0] <= b[1] and b[0] <= a[1] for a, b in pairs) / len(pairs)


def spread(values: Sequence[float]) -> float:
    """How much larger the largest is than the smallest, as a share."""
    return max(values) / min(values) - 1


def summarise(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is printed, from the repeats' measurements."""
    ratios = [repeat["ratio"] for repeat in repeats]
    plain_ratios = [repeat["plain"][MODELS[0]] / repeat["plain"][MODELS[1]] for repeat in repeats]
    latencies = {name: [repeat["bench"][name] for repeat in repeats] for name in MODELS}
    return {
        "overlapping": {name: overlapping([one["ci95"] for one in ones]) for name, ones in latencies.items()},
        "said_disturbed": {name: sum(one["disturbed"] is not None for one in ones) for name, ones in latencies.items()},
        "p50_spread": {name: spread([one["p50"] for one in ones]) for name, ones in latencies.items()},
        "plain_spread": {name: spread([repeat["plain"][name] for repeat in repeats]) for name in MODELS},
        "ratio_off_its_median": off_median(ratios),
        "ratio_spread": spread(ratios),
        "plain_ratio_off_its_median": off_median(plain_ratios),
        "plain_ratio_spread": spread(plain_ratios),
    }


def off_median(values: Sequence[float]) -> float:
    """How far the value farthest from their median lies from it, as a share."""
    middle = statistics.median(values)
    return max(abs(value / middle - 1) for value in values)


def line(repeat: dict[str, Any]) -> str:
    """One repeat in one line: for each model its p50 with its interval, and the plain loop's mean, in milliseconds."""
    found = []
    for name in MODELS:
        one = repeat["bench"][name]
        found.append(
            f"{name} {one['p50']:.1f} [{one['ci95'][0]:.1f}, {one['ci95'][1]:.1f}], {repeat['plain'][name]:.1f}"
        )
    return f"{'; '.join(found)}; ratio {repeat['ratio']:.3f}; {repeat['bench'][MODELS[0]]['disturbed']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--quiet", action="store_true", help="no other process")
    parser.add_argument("--spinning", action="store_true", help="waiting threads spin")
    parser.add_argument("--json", action="store_true", help="one JSON document to standard output")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure_once()))
        return

    surroundings = dict(os.environ)
    if arguments.spinning:
        surroundings.pop("OMP_WAIT_POLICY", None)
    else:
        surroundings["OMP_WAIT_POLICY"] = "PASSIVE"
    repeats: list[dict[str, Any]] = []
    with one_core_loaded(not arguments.quiet):
        for number in range(1, arguments.repeats + 1):
            command = [sys.executable, __file__, "--once"]
            done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, check=True)
            repeats.append(json.loads(done.stdout))
            print(f"{number:2} {line(repeats[-1])}", file=sys.stderr, flush=True)
    summary = summarise(repeats)
    if arguments.json:
        print(json.dumps({"summary": summary, "repeats": repeats}))
    else:
        print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()

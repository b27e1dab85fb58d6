"""Does the interval of a ratio of times hold 1 where both models are one?

    python benchmarks/same_twice.py [--comparisons 20] [--quiet]

Each comparison is a timing session as `run` takes it, in a new process: the same network built twice, under two names,
timed in turns, a picture's latency and a training step. Another process meanwhile computes for up to four seconds,
rests for up to four, and so on (`--quiet` leaves it out). Printed are each comparison's ratio with its 95 %
interval, as reports give it, and how many of the intervals hold 1: at least 95 % should.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL, IMAGE_SIZE, BATCH = "deit_tiny_patch16_224", 96, 8
SERIES = ("latency", "step")
LOAD = """
import os, random, sys, time
random.seed(int(sys.argv[1]))
parent = os.getppid()
while os.getppid() == parent:
    end = time.monotonic() + random.uniform(0, 4)
    while time.monotonic() < end:
        pass
    time.sleep(random.uniform(0, 4))
"""


def compare_once() -> dict[str, Any]:
    """By series: the logarithm of the ratio of two models that are one, its interval by blocks, and what was seen."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bench need not be installed
    import torch

    from bench.device import Device
    from bench.measure.together import time_together
    from bench.models.torchvision_operators import import_torchvision

    import_torchvision()
    import timm

    device, found = Device("cpu"), {}
    images, labels = torch.randn(BATCH, 3, IMAGE_SIZE, IMAGE_SIZE), torch.randint(0, 10, (BATCH,))

    def latency() -> Any:
        model = timm.create_model(MODEL, img_size=IMAGE_SIZE, num_classes=10).eval()

        def run() -> None:
            with torch.inference_mode():
                model(images[:1])

        return run

    def step() -> Any:
        model = timm.create_model(MODEL, img_size=IMAGE_SIZE, num_classes=10)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

        def run() -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

        return run

    for name, make in zip(SERIES, (latency, step), strict=True):
        taken = time_together({"a": make(), "b": make()}, device)
        a, b = taken.times("a"), taken.times("b")
        level = a.against(b)
        found[name] = {
            "log": level.median,
            "interval": level.interval,
            "milliseconds": 1e3 * math.exp(a.level.median),
            "blocks": len(a.quiet),
            "quiet": sum(a.quiet),
        }
    return found


@contextlib.contextmanager
def load_comes_and_goes(seed: int, quiet: bool) -> Iterator[None]:
    """Another process that computes now and then, unless `quiet`."""
    if quiet:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", LOAD, str(seed)]) as other:
        try:
            yield
        finally:
            other.kill()


def main() -> None:
    """Take the comparisons, one after the other, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=20)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(compare_once()))
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.records.sessions import Level
    from bench.report.judge.times import combined

    held = dict.fromkeys(SERIES, 0)
    widths: dict[str, list[float]] = {name: [] for name in SERIES}
    for number in range(options.comparisons):
        with load_comes_and_goes(number, options.quiet):
            once = subprocess.run([sys.executable, __file__, "--once"], capture_output=True, text=True, check=True)
        said = []
        for name, found in json.loads(once.stdout.splitlines()[-1]).items():
            ratio = combined([Level(found["log"], tuple(found["interval"]))])
            assert ratio is not None
            held[name] += ratio.low <= 1 <= ratio.high
            widths[name].append(ratio.high / ratio.low)
            quiet = f"{found['quiet']} of {found['blocks']} blocks quiet"
            said.append(f"{name} {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}], {quiet}")
        print(f"{number + 1}: {'; '.join(said)}", flush=True)
    for name in SERIES:
        width = statistics.median(widths[name])
        print(
            f"{name}: {held[name]} of {options.comparisons} intervals hold 1; median high end over low end {width:.3f}"
        )


if __name__ == "__main__":
    main()

"""Models timed side by side: the ratio survives a drift, rounds go on until it is known, and not for ever."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from moving_clock import Clock
from torch import nn

from bench.device import Device
from bench.measure import together
from bench.measure.together import BLOCKS, WIDTH, longest, time_together

CPU = Device("cpu")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What others do, block by block: nothing, but for what is put here."""
    busy: list[float] = []
    blocks: Iterator[float] = iter(())

    class NoWatch:
        others = 0.0

        def __init__(self, device: Device) -> None:
            pass

        def __enter__(self) -> NoWatch:
            return self

        def __exit__(self, *_: object) -> None:
            nonlocal blocks
            if not getattr(NoWatch, "begun", False):
                NoWatch.begun = True  # type: ignore[attr-defined]
                blocks = itertools.chain(busy, itertools.repeat(0.0))
            self.others = next(blocks)

    monkeypatch.setattr(together, "Watch", NoWatch)
    return busy


@pytest.mark.usefixtures("quiet")
def test_a_machine_that_slows_down_does_not_change_the_ratio(clock: Clock) -> None:
    slowness = 1.0

    def model(seconds: float) -> Callable[[], None]:
        def run() -> None:
            nonlocal slowness
            clock.now += seconds * slowness
            slowness *= 1.0002

        return run

    taken = time_together({"slow": model(0.02), "fast": model(0.01)}, CPU)
    assert max(taken.rounds["slow"]) > 1.05 * min(taken.rounds["slow"])
    level = taken.times("slow").against(taken.times("fast"))
    assert math.exp(level.median) == pytest.approx(2, rel=0.005)
    assert len(taken.others) == BLOCKS and len(taken.rounds["fast"]) == 2 * BLOCKS


@pytest.mark.usefixtures("quiet")
def test_rounds_go_on_until_the_ratio_is_known_but_not_for_ever(clock: Clock) -> None:
    generator = np.random.default_rng(0)

    def scattered(deviation: float) -> Callable[[], None]:
        def run() -> None:
            clock.now += 0.05 * math.exp(generator.normal(0, deviation))

        return run

    a_little = time_together({"a": scattered(0.05), "b": scattered(0.05)}, CPU, most_seconds=120.0)
    assert len(a_little.others) > BLOCKS and a_little.width <= WIDTH
    start = clock.now
    shares: list[float] = []
    too_much = time_together({"a": scattered(1.5), "b": scattered(1.5)}, CPU, told=shares.append)
    assert too_much.width > WIDTH
    assert clock.now - start < 1.5 * longest(2)
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_blocks_in_which_others_worked_do_not_count_and_are_made_up_for(clock: Clock, quiet: list[float]) -> None:
    quiet += [1.0] * 5
    taken = time_together({"a": clock.takes(0.02), "b": clock.takes(0.01)}, CPU)
    assert taken.others[:6] == [1.0] * 5 + [0.0]
    assert taken.times("a").disturbed == ""
    assert sum(taken.times("a").used) == len(taken.others) - 5


def test_where_others_never_rest_the_session_ends_and_is_disturbed(clock: Clock, quiet: list[float]) -> None:
    quiet += [1.0] * 100_000
    taken = time_together({"a": clock.takes(0.02), "b": clock.takes(0.01)}, CPU)
    assert math.isinf(taken.width)
    assert taken.times("a").disturbed.startswith("other processes were at work in ")
    start = clock.now
    assert len(time_together({"alone": clock.takes(0.02)}, CPU).others) >= BLOCKS
    assert clock.now - start < 0.7 * longest(2)  # no ratio is waited for


def test_real_models_are_timed_side_by_side() -> None:
    images = torch.zeros(1, 3, 32, 32)
    small, large = (nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(n))).eval() for n in (2, 24))
    taken = time_together({"small": lambda: small(images), "large": lambda: large(images)}, CPU, most_seconds=2.0)
    assert taken.times("large").against(taken.times("small")).median > math.log(3)

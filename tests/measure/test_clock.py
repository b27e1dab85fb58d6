"""Rounds, intervals, disturbance: mostly on a clock that the timed functions themselves move."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from accelerator import Gpu
from moving_clock import Clock

from bench.device import Device
from bench.measure import clock as clocks
from bench.measure.clock import (
    Watch,
    median_interval,
    median_interval_of_rounds,
    percentile,
    timed_rounds,
    warm_up,
)

CPU = Device("cpu")


# Rounds and warming up


@pytest.mark.parametrize(
    ("seconds", "turns"),
    [
        (0.05, "aabbccccbbaa"),  # In its turn each runs twice: once to fill the caches again, once timed.
        (1.0, "abccba"),  # So long a run fills them in no time.
    ],
)
def test_models_take_turns_and_every_second_round_runs_backwards(clock: Clock, seconds: float, turns: str) -> None:
    order: list[str] = []

    def model(name: str) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            clock.now += seconds

        return run

    timed_rounds({name: model(name) for name in "abc"}, CPU, rounds=2, seconds=seconds / 2)
    assert "".join(order[-len(turns) :]) == turns
    assert order[-len(turns) - 1] == "c"  # warming up


def test_the_device_is_waited_for_before_the_clock_is_read(clock: Clock) -> None:
    calls: list[str] = []
    device = Device("cuda", SimpleNamespace(synchronize=lambda: calls.append("synchronize")))

    def run() -> None:
        calls.append("run")
        clock.now += 1.0

    timed_rounds({"model": run}, device, rounds=1, seconds=0.5)
    last = len(calls) - 1 - calls[::-1].index("run")
    assert calls[last - 1] == calls[last + 1] == "synchronize"


def test_timing_keeps_the_number_of_threads(clock: Clock) -> None:
    # torch.utils.benchmark would by itself time with one thread.
    seen: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        takes = clock.takes(1.0)
        timed_rounds({"model": lambda: (seen.append(torch.get_num_threads()), takes())}, CPU, rounds=1, seconds=0.5)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {2}


def test_warming_up_goes_on_while_runs_get_faster(clock: Clock) -> None:
    getting_faster = clock.takes(9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 99)
    # The first does not count; then threes: the second three is faster than the first, the third no longer.
    assert len(warm_up(getting_faster, clock.perf_counter, seconds=60)) == 9


def test_an_accelerator_is_warmed_up_until_its_clock_has_risen(clock: Clock) -> None:
    assert len(warm_up(clock.takes(0.01), clock.perf_counter, seconds=3)) == 6
    assert len(warm_up(clock.takes(0.01), clock.perf_counter, seconds=3, least=0.5)) == pytest.approx(51, abs=2)
    ran: list[str] = []

    def run() -> None:
        clock.now += 0.01
        ran.append("run")

    timed_rounds({"model": run}, Gpu(), rounds=1, seconds=0.05)
    assert len(ran) >= 50 + 5


def test_warming_up_ends_in_time(clock: Clock) -> None:
    assert warm_up(clock.takes(2.0), clock.perf_counter, seconds=3) == [2.0, 2.0]


@pytest.mark.parametrize(("warming", "runs"), [(0.1, 1 + 2 + 3), (3.0, 1 + 6 + 3)])
def test_what_is_to_be_brief_is_warmed_up_briefly(clock: Clock, warming: float, runs: int) -> None:
    ran: list[str] = []

    def run() -> None:
        clock.now += 0.08
        ran.append("run")

    timed_rounds({"model": run}, CPU, rounds=3, seconds=0.01, warming=warming)
    assert len(ran) == runs


# Intervals


@pytest.mark.parametrize(
    ("count", "low", "high"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15), (100, 40, 61)]
)
def test_the_interval_of_the_median_has_the_ranks_of_the_published_table(count: int, low: int, high: int) -> None:
    samples = list(range(1, count + 1))
    random.Random(0).shuffle(samples)
    assert median_interval(samples) == (low, high)


def test_the_interval_holds_the_median_at_least_as_often_as_it_says() -> None:
    generator = random.Random(0)
    held = 0
    for _ in range(1000):
        # A skewed distribution whose median is 1.
        low, high = median_interval([2 ** generator.expovariate(1) / 2**0.6931 for _ in range(15)])
        held += low <= 1 <= high
    assert held >= 950


def test_many_samples_give_a_narrow_interval() -> None:
    low, high = median_interval(range(20_001))
    assert 9_800 < low < 10_000 < high < 10_200


def test_fewer_than_six_samples_give_their_range() -> None:
    assert median_interval([3, 1, 2]) == (1, 3)
    assert median_interval([5]) == (5, 5)


def test_drift_between_rounds_widens_the_interval() -> None:
    quiet = [[1.0, 1.1, 1.2] * 20 for _ in range(6)]
    drifting = [[value + 0.1 * number for value in samples] for number, samples in enumerate(quiet)]
    assert median_interval_of_rounds(quiet) == (1.1, 1.1)
    assert median_interval_of_rounds(drifting) == (pytest.approx(1.1), pytest.approx(1.6))


def test_slow_drift_is_not_averaged_away_by_many_rounds() -> None:
    # Eight slow steps of the machine, many rounds in each: the interval spans them all.
    rounds = [[1.0 + 0.1 * (number // 10)] * 3 for number in range(80)]
    assert median_interval_of_rounds(rounds) == (pytest.approx(1.0), pytest.approx(1.7))


def test_percentiles_are_samples() -> None:
    samples = list(range(100, 0, -1))
    assert [percentile(samples, percent) for percent in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert percentile([7.0], 99) == 7.0


# Disturbance


def test_what_other_processes_use_is_the_systems_time_less_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([(0.0, 100.0, 10.0), (10.0, 127.0, 25.0)])
    monkeypatch.setattr(clocks, "cpu_seconds", lambda: next(readings))
    monkeypatch.setattr("psutil.cpu_count", lambda: 4)
    with Watch(CPU) as watch:
        pass
    assert watch.others == pytest.approx(1.2)
    assert watch.disturbed() == "other processes kept 1.2 of 4 cores busy"


def test_the_readings_of_this_machine_only_grow() -> None:
    before = clocks.cpu_seconds()
    sum(range(100_000))
    assert all(later >= earlier for earlier, later in zip(before, clocks.cpu_seconds(), strict=True))

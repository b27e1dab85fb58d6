"""Speed: on a clock that the measured functions themselves move, so that every figure is known beforehand."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.device import Device
from bench.measure import disturbance, speed
from bench.measure.disturbance import Watch, drifted, reasons
from bench.measure.inference import Inference, InferenceOptions
from bench.measure.intervals import median_interval, median_interval_of_rounds, percentile
from bench.measure.speed import (
    latency_ratio,
    measure_latency,
    measure_step,
    measure_throughput,
    timed_rounds,
    warm_up,
)

CPU = Device("cpu")


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def takes(self, *seconds: float) -> Callable[[], None]:
        """A function that takes these seconds, one after the other and from the start again."""
        calls = 0

        def run() -> None:
            nonlocal calls
            self.now += seconds[calls % len(seconds)]
            calls += 1

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)
    monkeypatch.setattr(disturbance, "_seconds", lambda: (0.0, 0.0, 0.0))
    return clock


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
    monkeypatch.setattr(disturbance, "_seconds", lambda: next(readings))
    monkeypatch.setattr("psutil.cpu_count", lambda: 4)
    with Watch() as watch:
        pass
    assert watch.others == pytest.approx(1.2)
    assert watch.disturbed() == "other processes kept 1.2 of 4 cores busy"


def test_the_readings_of_this_machine_only_grow() -> None:
    before = disturbance._seconds()
    sum(range(100_000))
    assert all(later >= earlier for earlier, later in zip(before, disturbance._seconds(), strict=True))


def test_a_quiet_measurement_is_not_called_disturbed() -> None:
    assert reasons(None, drifted([[1.0], [1.05], [1.02]])) is None
    assert reasons("others", drifted([[1.0], [1.2], [1.0]])) == "others; rounds differ by 20%"


def test_a_single_odd_round_among_many_is_not_called_drift() -> None:
    assert drifted([[1.0]] * 19 + [[2.0]]) is None
    assert drifted([[1.0]] * 15 + [[2.0]] * 5) == "rounds differ by 100%"


# Latency


def test_latency_is_in_milliseconds_of_single_runs(clock: Clock) -> None:
    found = measure_latency({"model": clock.takes(*[0.010] * 9, 0.030)}, CPU, rounds=6, seconds=0.5)["model"]
    assert found.p50 == pytest.approx(10)
    assert found.p99 == pytest.approx(30)
    assert found.ci95 == (pytest.approx(10), pytest.approx(10))
    assert found.runs >= 6 * 0.5 / 0.012 - 6
    assert len(found.rounds) == 6
    assert found.disturbed is None
    assert set(found.as_dict()) >= {"p50", "p90", "p99", "ci95", "runs", "disturbed"}
    json.dumps(found.as_dict())


def test_models_take_turns_and_every_second_round_runs_backwards(clock: Clock) -> None:
    order: list[str] = []

    def model(name: str) -> Callable[[], None]:
        def run() -> None:
            order.append(name)
            clock.now += 1.0

        return run

    timed_rounds({name: model(name) for name in "abc"}, CPU, rounds=2, seconds=0.5)
    # In its turn each runs twice: once to fill the caches again, once timed.
    assert "".join(order[-12:]) == "aabbccccbbaa"


def test_a_slow_minute_does_not_change_the_ratio_of_two_models(clock: Clock) -> None:
    slowness = 1.0

    def model(seconds: float) -> Callable[[], None]:
        def run() -> None:
            nonlocal slowness
            clock.now += seconds * slowness
            slowness *= 1.001

        return run

    found = measure_latency({"slow": model(0.4), "fast": model(0.2)}, CPU, rounds=8, seconds=0.1)
    assert max(found["slow"].rounds) > 1.02 * min(found["slow"].rounds)
    ratio = latency_ratio(found["slow"], found["fast"])
    assert ratio.median == pytest.approx(2, rel=0.01)
    assert ratio.ci95[0] <= 2 <= ratio.ci95[1]


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
    assert warm_up(getting_faster, clock.perf_counter, seconds=60) == 10


def test_warming_up_ends_in_time(clock: Clock) -> None:
    assert warm_up(clock.takes(2.0), clock.perf_counter, seconds=3) == 3


# Throughput


def images_take(clock: Clock, seconds: dict[int, float]) -> Callable[[int], Callable[[], None]]:
    return lambda batch: clock.takes(seconds[batch])


def test_throughput_ends_after_two_batch_sizes_without_gain(clock: Clock) -> None:
    seconds = {1: 1.0, 2: 1.0, 4: 1.0, 8: 2.0, 16: 4.0, 32: 8.0}
    found = measure_throughput(images_take(clock, seconds), CPU, batches=seconds)
    assert [(row["batch"], row["images_per_second"]) for row in found] == [(1, 1), (2, 2), (4, 4), (8, 4), (16, 4)]


def test_throughput_has_an_interval(clock: Clock) -> None:
    (row,) = measure_throughput(lambda batch: clock.takes(1.0, 1.25), CPU, batches=[10])
    assert row["ci95"] == (8, 10)
    assert row["ci95"][0] <= row["images_per_second"] <= row["ci95"][1]
    json.dumps(row)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_throughput_ends_where_memory_runs_out(clock: Clock, error: Exception) -> None:
    def with_batch(batch: int) -> Callable[[], None]:
        if batch > 2:
            raise error
        return clock.takes(1.0)

    assert [row["batch"] for row in measure_throughput(with_batch, CPU, batches=[1, 2, 4, 8])] == [1, 2]


def test_other_errors_are_not_hidden(clock: Clock) -> None:
    def with_batch(batch: int) -> Callable[[], None]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        measure_throughput(with_batch, CPU, batches=[1])


# The training step


class Slow(torch.autograd.Function):
    """Takes 3 seconds in the backward pass."""

    clock: Clock

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        Slow.clock.now += 3
        return gradients[0]


def test_a_step_is_split_into_data_forward_backward_and_optimizer(clock: Clock) -> None:
    Slow.clock = clock

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.now += 2
            return Slow.apply(self.weight * x)  # type: ignore[no-any-return, no-untyped-call]

    class Optimizer(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            clock.now += 4

    model = Net()
    optimizer = Optimizer(model.parameters(), lr=0.1)

    def step() -> None:
        clock.now += 1
        model(torch.ones(1)).sum().backward()
        optimizer.step()

    found = measure_step(step, model, optimizer, CPU, images=5, runs=6)
    assert found["phases"] == {"data": 1, "forward": 2, "backward": 3, "optimizer": 4}
    assert found["seconds"] == 10
    assert found["ci95"] == (10, 10)
    assert found["images_per_second"] == 0.5
    assert not model._forward_hooks and not model._forward_pre_hooks


# Making a model ready


class FloatOnly(nn.Module):
    """Cannot compute with bfloat16 weights, as some operators cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.dtype != torch.float32:
            raise RuntimeError("not implemented for 'BFloat16'")
        output: torch.Tensor = self.layer(images.flatten(1))
        return output


def test_reduced_precision_stores_the_weights_in_it_and_leaves_the_model_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    inference = Inference(model, 8, CPU, InferenceOptions(precision="bf16"))
    assert inference.with_batch(2)().dtype == torch.bfloat16
    assert inference.describe() == {"precision": "bf16", "channels_last": False, "compile": False, "casting": "weights"}
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_where_an_operator_cannot_autocast_is_used_and_said() -> None:
    inference = Inference(FloatOnly(), 8, CPU, InferenceOptions(precision="bf16"))
    assert inference.describe()["casting"] == "autocast"
    assert inference.with_batch(2)().dtype == torch.bfloat16


def test_channels_last_reaches_weights_and_images() -> None:
    seen: list[bool] = []

    class Net(nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.extend(t.is_contiguous(memory_format=torch.channels_last) for t in (images, self.weight))
            return super().forward(images)

    Inference(Net(3, 8, 3), 8, CPU, InferenceOptions(channels_last=True)).with_batch(2)()
    assert seen == [True, True]


def test_compile_compiles_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    model = nn.Flatten()
    Inference(model, 8, CPU, InferenceOptions(compile=True)).with_batch(1)()
    assert len(compiled) == 1 and compiled[0] is not model


def test_a_real_model_is_measured_end_to_end() -> None:
    inference = Inference(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), 8, CPU, InferenceOptions())
    found = measure_latency({"linear": inference.with_batch(1)}, CPU, rounds=6, seconds=0.01)["linear"]
    assert 0 < found.ci95[0] <= found.p50 <= found.ci95[1]
    assert found.p50 <= found.p90 <= found.p99
    assert found.p50 == pytest.approx(statistics.median(found.rounds), rel=1)
    assert measure_throughput(inference.with_batch, CPU, batches=[1, 2], seconds=0.01)[0]["images_per_second"] > 0

"""Throughput: growing batches, until they bring nothing or memory runs out."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from moving_clock import Clock

from bench.device import Device
from bench.measure.throughput import growing, measure_throughput

CPU = Device("cpu")


def images_take(clock: Clock, seconds: dict[int, float]) -> Callable[[int], Callable[[], None]]:
    return lambda batch: clock.takes(seconds[batch])


def test_throughput_ends_after_two_batch_sizes_without_gain(clock: Clock) -> None:
    seconds = {1: 1.0, 2: 1.0, 4: 1.0, 8: 2.0, 16: 4.0, 32: 8.0}
    found, limit = measure_throughput(images_take(clock, seconds), CPU, batches=seconds)
    assert limit == "gain"
    assert [(row["batch"], row["images_per_second"]) for row in found] == [(1, 1), (2, 2), (4, 4), (8, 4), (16, 4)]


def test_throughput_has_an_interval(clock: Clock) -> None:
    (row,), limit = measure_throughput(lambda batch: clock.takes(1.0, 1.25), CPU, batches=[10])
    assert limit == "list"
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

    found, limit = measure_throughput(with_batch, CPU, batches=growing([1]))
    assert ([row["batch"] for row in found], limit) == ([1, 2], "memory")


def test_throughput_ends_where_there_would_be_no_room(clock: Clock) -> None:
    found, limit = measure_throughput(
        lambda batch: clock.takes(1.0), CPU, batches=growing([8, 24]), fits=lambda batch: batch < 100
    )
    assert ([row["batch"] for row in found], limit) == ([8, 24, 48, 96], "memory")


def test_throughput_ends_where_a_batch_takes_so_long_that_starting_it_costs_nothing(clock: Clock) -> None:
    seconds = {1: 1.0, 2: 1.5, 4: 2.0, 8: 2.5, 16: 4.0}
    found, limit = measure_throughput(images_take(clock, seconds), CPU, batches=growing([1]), longest=2.2)
    assert ([row["batch"] for row in found], limit) == ([1, 2, 4, 8], "time")


def test_other_errors_are_not_hidden(clock: Clock) -> None:
    def with_batch(batch: int) -> Callable[[], None]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        measure_throughput(with_batch, CPU, batches=[1])

"""Latency: percentiles of single runs, and models that take turns."""

from __future__ import annotations

import json
import statistics

import pytest
from moving_clock import Clock
from torch import nn

from bench.device import Device
from bench.measure.latency import measure_latency
from bench.measure.subject import Inference, InferenceOptions
from bench.measure.throughput import measure_throughput

CPU = Device("cpu")


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


def test_a_real_model_is_measured_end_to_end() -> None:
    inference = Inference(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), 8, CPU, InferenceOptions())
    found = measure_latency({"linear": inference.with_batch(1)}, CPU, rounds=6, seconds=0.01)["linear"]
    assert 0 < found.ci95[0] <= found.p50 <= found.ci95[1]
    assert found.p50 <= found.p90 <= found.p99
    assert found.p50 == pytest.approx(statistics.median(found.rounds), rel=1)
    assert measure_throughput(inference.with_batch, CPU, batches=[1, 2], seconds=0.01)[0]["images_per_second"] > 0

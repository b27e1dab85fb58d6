"""Latency: percentiles of single runs, and models that take turns."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from accelerator import Gpu
from moving_clock import Clock
from torch import nn

from bench.device import Device
from bench.measure import latency
from bench.measure.latency import measure_latency
from bench.measure.subject import Inference, InferenceOptions
from bench.measure.throughput import measure_throughput
from bench.records.efficiency import Latency

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
    throughput, _ = measure_throughput(inference.with_batch, CPU, batches=[1, 2], seconds=0.01)
    assert throughput[0]["images_per_second"] > 0


class OnGpu:
    """A subject on the stand-in, whose pass of one image is a linear layer."""

    brief, rounds, batches = True, 6, ()

    def __init__(self, *, breaks: bool = False) -> None:
        self.device = Gpu()
        self._inference = Inference(
            nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), 8, self.device, InferenceOptions()
        )
        self.breaks = breaks

    def inference(self, batch: int) -> Callable[[], object]:
        return self._inference.with_batch(batch)

    def graph(self, batch: int) -> Callable[[], object]:
        if self.breaks:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nMore of it")
        return self._inference.graph(batch)

    def inference_options(self) -> dict[str, Any]:
        return self._inference.describe()


def test_on_a_gpu_one_picture_is_timed_as_a_graph_too_and_a_model_that_cannot_be_one_says_why() -> None:
    whole, broken = OnGpu(), OnGpu(breaks=True)
    found, without = (one["latency_ms"] for one in latency.measure([whole, broken]))  # type: ignore[list-item]
    assert whole.device.recorded == 1 and whole.device.replayed >= found["graph"]["runs"]
    assert found["graph"]["p50"] > 0 and found["no_graph"] is None
    assert without["p50"] > 0 and without["graph"] is None
    assert without["no_graph"] == "RuntimeError: CUDA error: operation not permitted when stream is capturing"
    assert found["interleaved_with"] == 1
    assert Latency.model_validate(found).graph is not None


def test_on_the_cpu_there_are_no_graphs() -> None:
    subject = OnGpu()
    subject.device = CPU  # type: ignore[assignment]
    (found,) = latency.measure([subject])  # type: ignore[list-item]
    assert found["latency_ms"]["graph"] is found["latency_ms"]["no_graph"] is None

"""One rule says when two records come from the same machine, and in what they differ."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records.machine import described, differences, machine, same_machine

CPU: dict[str, Any] = {
    "device": "AMD EPYC", "device_kind": "cpu", "cpu": "AMD EPYC", "threads": 2, "precision": "bf16",
    "torch": "2.13.0+cpu", "timm": "1.0.31", "cuda": None, "driver": None, "load": [0.5], "cpu_mhz": 2400,
    "git": {"commit": "abc"}, "tf32": {"matmul": True, "convolution": True},
}  # fmt: skip
GPU = {**CPU, "device": "NVIDIA H100", "device_kind": "cuda", "cuda": "13.0", "driver": "580.1"}


def test_a_machine_is_said_in_one_line() -> None:
    assert described(CPU) == "AMD EPYC, 2 threads, bf16, torch 2.13.0+cpu, timm 1.0.31"
    assert "1 thread," in described({**CPU, "threads": 1})
    assert described(GPU) == (
        "NVIDIA H100, AMD EPYC, bf16, driver 580.1, cuda 13.0, torch 2.13.0+cpu, timm 1.0.31, tf32.matmul, "
        "tf32.convolution"
    )
    assert described(None) == described({}) == "unknown machine"


def test_what_passes_makes_no_other_machine() -> None:
    later = {**CPU, "load": [7.0], "cpu_mhz": 3000, "git": {"commit": "def"}}
    assert same_machine(CPU, later)
    assert differences(CPU, later) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"device": "Intel Xeon"}, "device AMD EPYC / Intel Xeon"),
        ({"threads": 4}, "threads 2 / 4"),
        ({"precision": "fp32"}, "precision bf16 / fp32"),
        ({"torch": "2.14.1"}, "torch 2.13.0+cpu / 2.14.1"),
        ({"timm": "1.1"}, "timm 1.0.31 / 1.1"),
    ],
)
def test_what_decides_over_times_makes_another_machine_and_is_named(changed: dict[str, Any], says: str) -> None:
    assert not same_machine(CPU, CPU | changed)
    assert differences(CPU, CPU | changed) == [says]
    assert machine(CPU) != machine(CPU | changed)


def test_beside_an_accelerator_its_driver_and_the_processor_count_and_threads_do_not() -> None:
    assert differences(GPU, {**GPU, "threads": 64}) == []
    assert differences(GPU, {**GPU, "driver": "590.2"}) == ["driver 580.1 / 590.2"]
    assert differences(GPU, {**GPU, "cpu": "Intel Xeon"}) == ["cpu AMD EPYC / Intel Xeon"]


def test_a_machine_that_is_not_known_is_the_same_as_none() -> None:
    assert not same_machine(None, CPU)
    assert not same_machine(None, None)
    assert differences(None, CPU)

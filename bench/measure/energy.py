"""Joules an image: NVML's counter on an NVIDIA GPU, RAPL's on a CPU; None where neither can be read.

Both counters are cumulative, so that energy is the difference of two readings around a known number of
runs. They count the whole chip: its idle power, and on a CPU whatever other processes do meanwhile.
RAPL counts the processor package, not the memory or the power supply. Its files are often readable by
root alone (`doctor` says how to open them).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pynvml

from bench.device import Device
from bench.hookspecs import Subject
from bench.measure.gpu import find_gpu

RAPL = Path("/sys/class/powercap")
# NVML's counter moves every 20 to 100 ms, and a step is waited for at both ends. On some GPUs (A100, H100) the sensor
# behind it looks a quarter of the time (arXiv 2312.02741): many short runs that are alike make that no matter.
SECONDS = 2.0
# A counter that has not moved for so long does not.
STEP_SECONDS = 0.5


def measure(subject: Subject) -> dict[str, Any]:
    """Joules an image of inference (in batches as large as a training step's) and of a training step."""
    device = subject.device
    if (gpu := find_gpu(device)) is not None and gpu.is_partitioned:
        raise UnmeasurableError("the GPU is divided into instances (MIG), and its counter counts all of them")
    if find_meter(device) is None:
        return {"energy_joules": None}
    training = subject.training
    size = len(training.batch()[1])
    found = {
        "inference_per_image": joules_per_image(subject.inference(size), size, device),
        "training_per_image": joules_per_image(lambda: training.step(*training.batch()), size, device),
        "batch": size,
    }
    return {"energy_joules": found}


class UnmeasurableError(Exception):
    """There is a counter, and it counts something else."""


class Meter(Protocol):
    """A cumulative energy counter."""

    def read(self) -> Any:
        """The counter now."""

    def joules(self, before: Any, after: Any) -> float:
        """Energy between two readings."""


@dataclass(frozen=True)
class NvmlMeter:
    """The total energy counter of one NVIDIA GPU (Volta and later), in millijoules."""

    handle: Any
    nvml: Any = pynvml

    def read(self) -> int:
        return int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))

    def joules(self, before: int, after: int) -> float:
        return (after - before) / 1e3


@dataclass(frozen=True)
class RaplMeter:
    """The package counters of Linux' powercap tree, in microjoules; they start again at zero when full."""

    domains: tuple[Path, ...]

    def read(self) -> tuple[int, ...]:
        return tuple(_number(domain / "energy_uj") for domain in self.domains)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        total = 0
        for domain, start, end in zip(self.domains, before, after, strict=True):
            # The largest value is itself reached before the counter turns to zero.
            total += end - start if end >= start else end - start + _number(domain / "max_energy_range_uj") + 1
        return total / 1e6


def find_meter(device: Device, rapl_root: Path = RAPL, nvml: Any = pynvml) -> Meter | None:
    """The energy counter of `device`, or None where it has none that can be read."""
    if device.kind == "cpu":
        domains = rapl_domains(rapl_root)
        return RaplMeter(domains) if domains else None
    gpu = find_gpu(device, nvml)
    if gpu is None:
        return None
    meter = NvmlMeter(gpu.handle, nvml)
    try:
        meter.read()
    except nvml.NVMLError:  # a GPU older than Volta keeps no counter
        return None
    return meter


def rapl_domains(root: Path = RAPL) -> tuple[Path, ...]:
    """The readable package domains under `root`.

    Their subdomains (cores, memory) and the platform's domain overlap with them and are left out.
    """
    domains = []
    for domain in sorted(root.glob("intel-rapl:*")):
        try:
            if (domain / "name").read_text().startswith("package"):
                _number(domain / "energy_uj"), _number(domain / "max_energy_range_uj")
                domains.append(domain)
        except OSError:  # unreadable: for root alone
            continue
    return tuple(domains)


def joules_per_image(
    run: Callable[[], object],
    images: int,
    device: Device,
    meter: Meter | None = None,
    seconds: float = SECONDS,
) -> float | None:
    """Energy of one image in joules, `run` working through `images` images; None where it cannot be measured.

    `run` is called twice to warm up and to see how long it takes, and then as often as fills `seconds`. Begins and ends
    on a step of the counter; the time between the end and its step is worked through, too, and counts.
    """
    meter = meter or find_meter(device)
    if meter is None:
        return None
    run()
    device.synchronize()
    start = time.perf_counter()
    run()
    device.synchronize()
    once = time.perf_counter() - start
    least = max(1, round(seconds / max(once, 1e-6)))

    def work(least: int) -> tuple[Any, int]:
        """The counter at its first step after so many runs, and how many it were: work goes on until it steps."""
        for _ in range(least):
            run()
        device.synchronize()
        start, runs, deadline = meter.read(), least, time.perf_counter() + STEP_SECONDS
        while (now := meter.read()) == start and time.perf_counter() < deadline:
            run()
            device.synchronize()
            runs += 1
        return now, runs

    before, _ = work(0)
    after, runs = work(least)
    return meter.joules(before, after) / (runs * images)


def _number(file: Path) -> int:
    return int(file.read_text())

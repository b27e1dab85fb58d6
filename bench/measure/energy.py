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

RAPL = Path("/sys/class/powercap")
# NVML's counter moves every 20 to 100 ms: over two seconds its step is at most a few per cent.
SECONDS = 2.0


def measure(subject: Subject) -> dict[str, Any]:
    """Joules an image of inference (in batches as large as a training step's) and of a training step."""
    device = subject.device
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
    handle = nvml_handle(device, nvml)
    if handle is None:
        return None
    meter = NvmlMeter(handle, nvml)
    try:
        meter.read()
    except nvml.NVMLError:  # a GPU older than Volta keeps no counter
        return None
    return meter


def nvml_handle(device: Device, nvml: Any = pynvml) -> Any | None:
    """NVML's handle of the GPU that torch uses; None where it is not NVIDIA's or NVML is not there."""
    uuid = device.nvml_uuid
    if uuid is None:
        return None
    try:
        nvml.nvmlInit()
        return nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError:
        return None


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

    `run` is called twice to warm up and to see how long it takes, and then as often as fills `seconds`.
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
    runs = max(1, round(seconds / max(once, 1e-6)))
    before = meter.read()
    for _ in range(runs):
        run()
    device.synchronize()
    return meter.joules(before, meter.read()) / (runs * images)


def _number(file: Path) -> int:
    return int(file.read_text())

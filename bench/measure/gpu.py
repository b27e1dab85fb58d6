"""An NVIDIA GPU as its driver sees it: clock, power and throttling under load, and who else computes on it.

Everything is None where NVML does not tell: on other accelerators, and for users who are not told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from bench.device import Device

T = TypeVar("T")

# Why a GPU runs slower than it could, of NVML's reasons: heat and power. An idle GPU, or one whose clock its owner has
# set, is not among them.
THROTTLING = {
    "the power limit": pynvml.nvmlClocksEventReasonSwPowerCap,
    "a slowdown by hardware": pynvml.nvmlClocksEventReasonHwSlowdown,
    "heat": pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "the power supply": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
}
# Reaching its power limit is what a GPU does whenever its load is heavy: that is told, and disturbs nothing.
EXPECTED = "the power limit"


@dataclass(frozen=True)
class Load:
    """What a GPU does at this moment: MHz, watts, what slows it, and how many other processes compute on it."""

    sm_mhz: int | None
    watts: float | None
    slowed_by: tuple[str, ...]
    others: int | None

    def disturbed(self) -> str | None:
        """What makes a time of this moment doubtful."""
        said = []
        if self.others:
            said.append(f"{self.others} other process{'es' * (self.others > 1)} computed on the GPU")
        said += [f"the GPU was slowed by {why}" for why in self.slowed_by if why != EXPECTED]
        return "; ".join(said) or None

    def as_dict(self) -> dict[str, Any]:
        """The record's `gpu` beside a time."""
        return {"sm_mhz": self.sm_mhz, "watts": self.watts, "slowed_by": list(self.slowed_by)}


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, by NVML's handle."""

    handle: Any
    nvml: Any = pynvml

    def ask(self, question: Callable[[], T]) -> T | None:
        """The answer; None where this GPU, or this user, is not told."""
        try:
            return question()
        except self.nvml.NVMLError:
            return None

    def load(self) -> Load:
        """Now. To be asked while it computes: an idle GPU lowers its clock."""
        nvml, handle = self.nvml, self.handle
        milliwatts = self.ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        reasons = self.ask(lambda: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))) or 0
        return Load(
            self.ask(lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))),
            None if milliwatts is None else milliwatts / 1e3,
            tuple(name for name, bits in THROTTLING.items() if reasons & bits),
            self.ask(self._others),
        )

    def _others(self) -> int:
        # This one is among them, under another number where it runs in a container.
        return max(0, len(self.nvml.nvmlDeviceGetComputeRunningProcesses(self.handle)) - 1)

    @property
    def is_partitioned(self) -> bool:
        """Whether it is divided into instances (MIG), of which torch uses one."""
        mode = self.ask(lambda: self.nvml.nvmlDeviceGetMigMode(self.handle))
        return mode is not None and bool(mode[0])

    @property
    def persistent(self) -> bool | None:
        """Whether the driver stays loaded while nobody uses it."""
        mode = self.ask(lambda: self.nvml.nvmlDeviceGetPersistenceMode(self.handle))
        return None if mode is None else bool(mode)

    @property
    def most_mhz(self) -> int | None:
        """The highest clock of its cores."""
        return self.ask(lambda: int(self.nvml.nvmlDeviceGetMaxClockInfo(self.handle, self.nvml.NVML_CLOCK_SM)))


def find_gpu(device: Device, nvml: Any = pynvml) -> Gpu | None:
    """The GPU that torch uses; None where it is not NVIDIA's or NVML is not there."""
    uuid = device.nvml_uuid
    if uuid is None:
        return None
    try:
        nvml.nvmlInit()
        return Gpu(nvml.nvmlDeviceGetHandleByUUID(uuid), nvml)
    except nvml.NVMLError:
        return None

"""Stand-ins for an accelerator, where there is none: they keep what is asked of them, and compute on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from bench.device import Device

T = TypeVar("T")


class NVMLError(Exception):
    """What NVML raises for what it does not tell."""


class Nvml:
    """NVML of one GPU, which answers what it is told to, and nothing else."""

    NVMLError = NVMLError
    NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM, NVML_CLOCK_MEM = 0, 1, 2

    def __init__(self, **answers: Any) -> None:
        self.answers = {"nvmlInit": None, "nvmlDeviceGetHandleByUUID": "handle", **answers}

    def __getattr__(self, name: str) -> Any:
        def call(*_: object) -> Any:
            if name not in self.answers:
                raise NVMLError(name)
            return self.answers[name]

        return call


class StandIn:
    """In the place of `torch.accelerator`: keeps the order of the calls, and answers with made-up bytes."""

    def __init__(self, allocated: int = 0, peak: int = 0, free: int = 0, devices: int = 1) -> None:
        self.free = free
        self.devices, self.index = devices, 0
        self.calls: list[str] = []
        self.allocated = allocated
        self.peak = peak

    def note(self, call: str) -> None:
        self.calls.append(call)

    def synchronize(self) -> None:
        self.note("synchronize")

    def reset_peak_memory_stats(self) -> None:
        self.note("reset")

    def max_memory_allocated(self) -> int:
        self.note("read peak")
        return self.peak

    def memory_allocated(self) -> int:
        self.note("read now")
        return self.allocated

    def empty_cache(self) -> None:
        self.note("release")

    def get_memory_info(self) -> tuple[int, int]:
        return self.free, 2 * self.free

    def without_waiting(self) -> list[str]:
        return [call for call in self.calls if call != "synchronize"]

    def current_accelerator(self, check_available: bool) -> torch.device:
        return torch.device("cuda")

    def device_count(self) -> int:
        return self.devices

    def set_device_index(self, index: int) -> None:
        self.index = index


class Gpu(Device):
    """A CUDA device by its word, whose tensors are on the CPU. `moved` are those that were moved to it."""

    name = "Stand-in"
    nvml_uuid = None

    def __init__(self, accelerator: StandIn | None = None) -> None:
        super().__init__("cuda", accelerator or StandIn())
        self.torch_device = torch.device("cpu")
        self.moved: list[torch.Tensor] = []
        self.recorded = self.replayed = 0

    def ready(self, tensor: torch.Tensor) -> torch.Tensor:
        """Nothing can be pinned where there is no accelerator."""
        return tensor

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def record(self, run: Callable[[], T], warm_up: int = 0) -> Callable[[], T]:
        """A replay calls `run` again: recording computes nothing."""
        for _ in range(warm_up):
            run()
        self.recorded += 1

        def replay() -> T:
            self.replayed += 1
            return run()

        return replay

    def move(self, tensor: torch.Tensor) -> torch.Tensor:
        self.moved.append(tensor)
        return tensor

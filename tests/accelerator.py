"""Stand-ins for an accelerator, where there is none: they keep what is asked of them, and compute on the CPU."""

from __future__ import annotations

import torch

from bench.device import Device


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

    def __init__(self, accelerator: StandIn) -> None:
        super().__init__("cuda", accelerator)
        self.torch_device = torch.device("cpu")
        self.moved: list[torch.Tensor] = []

    def move(self, tensor: torch.Tensor) -> torch.Tensor:
        self.moved.append(tensor)
        return tensor

"""What happens on an accelerator, tested where there is none: a stand-in records what is asked of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.device import Device
from bench.measure.memory import inference_memory, training_memory


class StandIn:
    """In the place of `torch.accelerator`: keeps the order of the calls, and answers with made-up bytes."""

    def __init__(self, allocated: int = 0, peak: int = 0, free: int = 0) -> None:
        self.free = free
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


def test_work_is_waited_for_before_a_peak_is_reset_or_read() -> None:
    accelerator = StandIn(peak=7)
    device = Device("cuda", accelerator)
    device.reset_peak_memory()
    assert device.peak_memory() == 7
    assert accelerator.calls == ["synchronize", "reset", "synchronize", "read peak"]


def test_the_cpu_asks_no_accelerator() -> None:
    accelerator = StandIn()
    device = Device("cpu", accelerator)
    device.synchronize()
    device.reset_peak_memory()
    device.release_memory()
    assert device.peak_memory() is None
    assert device.allocated_memory() is None
    assert not device.has_room(0)
    assert accelerator.calls == []


def test_pictures_stay_on_the_accelerator_only_if_they_leave_it_half_its_free_memory() -> None:
    device = Device("cuda", StandIn(free=1000))
    assert device.has_room(499)
    assert not device.has_room(500)
    large = torch.zeros(500, dtype=torch.uint8)
    assert device.keep(large) is large  # else it would be moved, which fails where there is no GPU


def test_cudnn_tries_its_kernels_but_keeps_to_those_that_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("benchmark", False), ("deterministic", False)):
        monkeypatch.setattr(torch.backends.cudnn, name, value)
    Device("cpu").tune_kernels()
    assert not torch.backends.cudnn.benchmark
    Device("cuda", StandIn()).tune_kernels()
    assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.deterministic


def test_training_memory_resets_then_runs_then_waits_then_reads() -> None:
    accelerator = StandIn(allocated=10_000, peak=14_000)
    device = Device("cuda", accelerator)
    model = nn.Linear(10, 10, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        accelerator.note("run")
        model(torch.ones(2, 10)).sum().backward()

    memory = training_memory(step, model, optimizer, device)
    assert accelerator.without_waiting() == ["read now", "reset", "run", "read peak"]
    run, read = accelerator.calls.index("run"), accelerator.calls.index("read peak")
    assert "synchronize" in accelerator.calls[run:read]
    # What was there before and is not the model's (a data set kept on the device) does not count.
    assert memory["train_peak"] == 400 + (14_000 - 10_000)
    assert sum(memory["train_breakdown"].values()) == memory["train_peak"]
    assert memory["activations"] is None  # the profiler reported none of the stand-in's allocations


def test_inference_memory_warms_up_before_the_peak_is_reset() -> None:
    accelerator = StandIn(allocated=1000, peak=1500)
    device = Device("cuda", accelerator)
    device.torch_device = torch.device("cpu")  # where the stand-in's tensors really are

    class Net(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            accelerator.note("run")
            return images

    assert inference_memory(Net(), 8, [1], device) == {1: 500}
    assert accelerator.without_waiting() == ["release", "run", "read now", "reset", "run", "read peak"]


def test_a_batch_too_large_for_the_accelerator_is_none_and_ends_the_series() -> None:
    device = Device("cuda", StandIn(allocated=0, peak=100))
    device.torch_device = torch.device("cpu")
    tried: list[int] = []

    class Net(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tried.append(len(images))
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return images

    assert inference_memory(Net(), 8, [1, 2, 4], device) == {1: 100, 2: None, 4: None}
    assert max(tried) == 2

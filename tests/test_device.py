"""What happens on an accelerator, tested where there is none: a stand-in records what is asked of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

import pytest
import torch
from accelerator import Gpu, StandIn
from torch import nn

from bench.device import WORKSPACE, Device, choose_device, every_device, exact_float32, out_of_memory
from bench.errors import RequestError
from bench.kernels import has_slow_convolutions
from bench.measure.environment import environment
from bench.measure.memory import inference_memory, training_memory
from bench.measure.step import measure_step
from bench.run import prepare

CPU = Device("cpu")


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


@pytest.fixture
def kernels() -> Iterator[None]:
    """Which kernels this process computes by is as it was afterwards."""
    backends = torch.backends
    before = backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    yield
    backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_float32_means_one_thing_and_kernels_are_searched_or_repeat(precision: str, deterministic: bool) -> None:
    Device("cuda", StandIn()).choose_kernels(precision, deterministic=deterministic)
    short = precision == "tf32"
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (short, short)
    assert torch.backends.cudnn.benchmark is not deterministic
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    recorded = environment(Gpu(StandIn()), precision)
    assert set(recorded["tf32"].values()) == {short}
    assert recorded["kernels"]["tuned"] is not deterministic
    assert recorded["kernels"]["repeats"] == ("to the bit" if deterministic else "to noise")
    with exact_float32():
        assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (short, short)


@pytest.mark.usefixtures("kernels")
def test_the_workspace_is_set_before_the_device_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE[0], raising=False)
    seen = []
    monkeypatch.setattr(prepare, "choose_device", lambda name: seen.append(os.environ.get(WORKSPACE[0])) or CPU)
    prepare.prepare_device("cpu", "fp32")
    prepare.prepare_device("cpu", "fp32", deterministic=True)
    assert seen == [None, ":4096:8"]


@pytest.mark.usefixtures("kernels")
def test_a_precision_that_the_device_does_not_know_is_refused() -> None:
    with pytest.raises(RequestError, match="precision tf32: this device does not compute in it"):
        prepare.prepare_device("cpu", "tf32")


def test_an_accelerator_is_chosen_by_its_number() -> None:
    several = StandIn(devices=2)
    assert str(choose_device("cuda:1", several).torch_device) == "cuda:1"
    assert (choose_device("cuda:1", several).kind, several.index) == ("cuda", 1)
    assert choose_device("auto", several).kind == "cuda"
    assert choose_device("cpu", several).kind == "cpu"
    for name in ("cuda:2", "cuda:x", "cuda:", "cpu:0", "mps"):
        with pytest.raises(RequestError, match="choose among auto, cpu, cuda, cuda:0, cuda:1"):
            choose_device(name, several)


def test_by_default_every_accelerator_is_used_and_a_named_one_alone() -> None:
    assert every_device("auto", StandIn(devices=3)) == ("cuda:0", "cuda:1", "cuda:2")
    assert every_device("auto", StandIn(devices=1)) == ("cuda",)
    assert every_device("cuda:1", StandIn(devices=3)) == ("cuda:1",)
    assert every_device("cpu", StandIn(devices=3)) == ("cpu",)


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
    forward = partial(accelerator.note, "run")
    assert inference_memory(lambda batch: forward, 40, [1], Gpu(accelerator)) == {1: 540}
    assert accelerator.without_waiting() == ["release", "run", "read now", "reset", "run", "read peak"]


def test_a_batch_too_large_for_the_accelerator_is_none_and_ends_the_series() -> None:
    tried: list[int] = []

    def with_batch(batch: int) -> Callable[[], None]:
        tried.append(batch)
        if batch > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lambda: None

    assert inference_memory(with_batch, 0, [1, 2, 4], Gpu(StandIn(allocated=0, peak=100))) == {1: 100, 2: None, 4: None}
    assert max(tried) == 2


def test_a_step_is_timed_without_waiting_and_its_phases_are_shares_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    accelerator = StandIn()
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def wait() -> None:
        nonlocal now
        accelerator.note("synchronize")
        now += 0.001  # what waiting costs

    def step() -> None:
        nonlocal now
        accelerator.note("step")
        now += 0.010
        model(torch.ones(1)).backward()
        optimizer.step()

    monkeypatch.setattr(accelerator, "synchronize", wait)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    found = measure_step(step, model, optimizer, Gpu(accelerator), images=5, runs=4)
    assert 0.010 < found["seconds"] < 0.0102  # a tenth of what waiting four times would add
    assert sum(found["phases"].values()) == pytest.approx(found["seconds"])
    in_a_row = max(len(list(calls)) for call, calls in groupby(accelerator.calls) if call == "step")
    assert in_a_row >= 8  # as many as fill a tenth of a second


def test_data_kept_on_the_accelerator_take_half_of_what_was_free_at_most() -> None:
    accelerator = StandIn(free=1000)
    device = Gpu(accelerator)
    first, second, third = (torch.zeros(size, dtype=torch.uint8) for size in (300, 150, 100))
    for tensor, kept in ((first, True), (second, True), (third, False)):
        before = len(device.moved)
        device.keep(tensor)
        assert (len(device.moved) > before) == kept
        accelerator.free -= tensor.nbytes * kept
    device.let_go(first)
    accelerator.free += first.nbytes
    device.keep(third)
    assert device.moved[-1] is third


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),  # pinned memory
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_memory_that_runs_out_is_known_whoever_says_so(error: Exception, memory: bool) -> None:
    assert out_of_memory(error) is memory


@pytest.mark.parametrize(("precision", "unfused"), [("bf16", True), ("fp32", False)])
def test_attention_that_is_trained_on_a_cpu_in_sixteen_bits_is_computed_by_single_operations(
    precision: str, unfused: bool
) -> None:
    """The fused kernel's gradients take many times as long there; without gradients it is the faster one."""
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, 17, 8, requires_grad=True) for _ in range(3)]

    def attended() -> torch.Tensor:
        numbers = torch.bfloat16 if precision == "bf16" else torch.float32
        return nn.functional.scaled_dot_product_attention(*(one.to(numbers) for one in inputs))

    def operators(run: Callable[[], object]) -> set[str]:
        with torch.profiler.profile() as profiler:
            run()
        return {event.key for event in profiler.key_averages()}

    fused = "aten::_scaled_dot_product_flash_attention_for_cpu"
    with CPU.training(precision):
        assert (fused not in operators(attended)) == unfused
        found = torch.autograd.grad(attended().float().square().sum(), inputs)
    assert fused in operators(attended)
    expected = torch.autograd.grad(attended().float().square().sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=0.05 if unfused else 1e-5, rtol=0.05)
    kernels = environment(CPU, precision=precision)["kernels"]
    named = "unfused_attention", "depthwise_fp32", "depthwise_by_places", "convolutions_by_products"
    assert {kernels[name] for name in named} == {unfused}


@pytest.mark.parametrize(
    ("kernel", "stride", "side", "in_float32"),
    [(3, 1, 8, False), (3, 2, 8, True), (5, 1, 8, True), (3, 1, 2, True), (5, 1, 1, True)],
)
def test_depthwise_convolutions_without_gradients_in_sixteen_bits_are_trained_in_float32_on_a_cpu(
    kernel: int, stride: int, side: int, in_float32: bool
) -> None:
    """Those of benchmarks/depthwise.py that are slow: with the result of float32, rounded once."""
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6)
    images = torch.randn(2, 6, side, side, requires_grad=True)
    seen = []
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.grad_fn.name()))
    with CPU.training("bf16"):
        output = layer(images)
    assert output.dtype is torch.bfloat16
    assert (seen == ["ToCopyBackward0"]) == in_float32
    exact = layer(images)
    if in_float32 and side > 2:
        assert torch.equal(output, exact.bfloat16())
    elif in_float32:  # of few places: sums in another order, before they are rounded once
        torch.testing.assert_close(output.float(), exact, atol=1e-6, rtol=2**-8)
    found = torch.autograd.grad(output.float().square().sum(), [images, layer.weight, layer.bias])
    expected = torch.autograd.grad(exact.square().sum(), [images, layer.weight, layer.bias])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=0.02 * float(other.abs().max()), rtol=0.02)


def test_frozen_depthwise_convolutions_and_all_others_stay_in_sixteen_bits() -> None:
    frozen = nn.Conv2d(6, 6, 5, groups=6).requires_grad_(False)
    grouped, full = nn.Conv2d(6, 6, 5, groups=3), nn.Conv2d(6, 6, 5)
    for layer in (frozen, grouped, full):
        with CPU.training("bf16"):
            output = layer(torch.randn(2, 6, 8, 8))
        assert output.dtype is torch.bfloat16
        assert output.grad_fn is None or output.grad_fn.name() == "ConvolutionBackward0"


@pytest.mark.parametrize(
    ("channels", "out", "side", "options", "taken"),
    [
        (64, 64, 2, {"kernel_size": 3, "padding": 1}, True),
        (128, 128, 4, {"kernel_size": 1, "stride": (2,), "bias": False}, True),
        (3, 192, 16, {"kernel_size": 16, "stride": 16}, True),
        (64, 64, 32, {"kernel_size": 3, "padding": 1}, False),  # many places
        (12, 12, 2, {"kernel_size": 3, "padding": 1}, False),  # few weights
        (64, 64, 4, {"kernel_size": 3, "padding": "same"}, False),
        (64, 64, 4, {"kernel_size": 3, "padding": 2, "dilation": 2}, False),
    ],
)
def test_convolutions_of_many_weights_and_few_places_are_trained_by_matrix_products_on_a_cpu(
    channels: int, out: int, side: int, options: dict[str, Any], taken: bool
) -> None:
    """Those of benchmarks/convolutions.py that are faster so: as close to the exact result as the library's kernel."""
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, out, **options).to(memory_format=torch.channels_last)
    images = torch.randn(4, channels, side, side, requires_grad=True)
    given = [images, *layer.parameters()]

    def gradients(output: torch.Tensor) -> list[torch.Tensor]:
        return [output.float(), *torch.autograd.grad(output.float().square().sum(), given)]

    with CPU.training("bf16"):
        output = layer(images)
    assert (output.grad_fn.name() == "_ConvolutionBackward") == taken
    assert output.dtype is torch.bfloat16 and output.is_contiguous(memory_format=torch.channels_last)
    with CPU.autocast("bf16"):
        library = gradients(layer(images))
    for found, other, exact in zip(gradients(output), library, gradients(layer(images)), strict=True):
        assert found.shape == exact.shape
        assert (found - exact).norm() <= 1.5 * (other - exact).norm()


def test_what_such_a_convolution_gives_may_be_changed_in_place() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(64, 256, 1), nn.ReLU(inplace=True))  # as in VGG19
    images = torch.randn(4, 64, 2, 2)
    with CPU.training("bf16"):
        output = layer(images)
    output.float().sum().backward()
    assert (output.detach() >= 0).all() and (output == 0).any()
    found = layer[0].bias.grad
    assert found is not None
    torch.testing.assert_close(found, (output > 0).sum((0, 2, 3)).float(), atol=0.1, rtol=0.01)


def test_frozen_layers_and_evaluation_keep_the_library_s_convolutions() -> None:
    layer = nn.Conv2d(128, 128, 1)
    images = torch.randn(2, 128, 2, 2)
    with CPU.training("bf16"):
        assert layer(images).grad_fn.name() == "_ConvolutionBackward"
        assert layer.requires_grad_(False)(images).grad_fn is None
        assert layer(images.requires_grad_()).grad_fn.name() == "_ConvolutionBackward"  # what is before it trains
    with CPU.training("fp32"):
        assert layer(images).grad_fn.name() == "ConvolutionBackward0"


def test_slow_convolutions_are_looked_for_only_where_a_model_may_have_some() -> None:
    assert has_slow_convolutions(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Sequential(nn.Conv2d(6, 12, 3, groups=6))))
    assert has_slow_convolutions(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(128, 128, 1)))
    others = nn.Conv2d(1, 6, 3), nn.Conv2d(60, 60, 9, groups=3), nn.Conv1d(6, 6, 3, groups=6), nn.Linear(999, 999)
    assert not has_slow_convolutions(nn.ModuleList(others))
    layer, images = nn.Conv2d(6, 6, 5, groups=6), torch.randn(2, 6, 8, 8)
    with CPU.training("bf16", convolutions=False):
        assert layer(images).grad_fn.name() == "ConvolutionBackward0"


def test_trained_convolutions_with_other_kernels_can_be_compiled() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(4, 4, 5, groups=4), nn.ReLU(), nn.Conv2d(4, 4096, 1))
    images = torch.randn(2, 4, 9, 9)
    compiled = torch.compile(layer)
    for _ in range(2):  # the second without compiling
        with CPU.training("bf16"):
            expected, found = layer(images), compiled(images)
    torch.testing.assert_close(found, expected)
    found.float().sum().backward()

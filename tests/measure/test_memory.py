"""Memory: worked out by hand for layers whose tensors are known, and adding up for every model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.device import Device, choose_device
from bench.measure import memory
from bench.measure.allocations import Block, Recording, pair_blocks, record_allocations
from bench.measure.memory import inference_memory, optimizer_bytes, training_memory
from bench.measure.subject import Inference, InferenceOptions

CPU = Device("cpu")
F = 4  # bytes of a float32


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Callable[[], torch.Tensor]
) -> Callable[[], None]:
    """A step that has run once, so that the optimizer's state is there."""

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(batch()).sum().backward()
        optimizer.step()

    step()
    return step


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(1000, 400, bias=False), nn.ReLU(), nn.Linear(400, 300, bias=False))


WEIGHTS = F * (1000 * 400 + 400 * 300)


def test_with_a_large_batch_the_peak_is_in_the_backward_pass_of_relu() -> None:
    model, images = two_layers(), torch.randn(20_000, 1000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    memory = training_memory(training_step(model, optimizer, lambda: images), model, optimizer, CPU, inputs=[images])

    hidden = F * 20_000 * 400
    assert memory["activations"] == pytest.approx(hidden, rel=1e-3)  # ReLU's output alone is kept
    expected = {
        "parameters": WEIGHTS,
        "gradients": F * 400 * 300,  # the last layer's
        "optimizer": 0,  # SGD without momentum
        "inputs": F * 20_000 * 1000,
        "activations": hidden,
        "other": 2 * hidden,  # the gradients of ReLU's output and of its input
    }
    assert memory["train_breakdown"] == {part: pytest.approx(size, rel=1e-3) for part, size in expected.items()}
    assert memory["train_peak"] == pytest.approx(sum(expected.values()), rel=1e-3)


def test_with_a_small_batch_the_peak_is_in_the_optimizer() -> None:
    model, images = two_layers(), torch.randn(64, 1000)
    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    memory = training_memory(training_step(model, optimizer, lambda: images), model, optimizer, CPU, inputs=[images])

    assert memory["optimizer"] == 2 * WEIGHTS + 2 * F  # two moments, and a count of steps for each of two tensors
    parts = memory["train_breakdown"]
    assert parts["gradients"] == memory["gradients"] == WEIGHTS
    assert parts["activations"] == 0
    # Of the larger tensor: the root of its second moment, and that over the bias correction.
    assert parts["other"] == pytest.approx(2 * F * 1000 * 400, rel=1e-3)


def test_activations_of_a_convolutional_net_are_what_autograd_saves() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    images = torch.randn(64, 3, 32, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    memory = training_memory(training_step(model, optimizer, lambda: images), model, optimizer, CPU, inputs=[images])

    maps = F * 64 * 16 * 32 * 32
    statistics, pooled, loss = 2 * F * 16, F * 64 * 16, 2 * F
    # Batch norm saves its input, ReLU its output, the linear layer its input.
    assert memory["activations"] == pytest.approx(2 * maps + statistics + pooled + loss, rel=1e-3)
    weights = 3 * 16 * 9 + 2 * 16 + 16 * 10 + 10
    assert memory["parameters"] == F * (weights + 2 * 16) + 8  # running statistics, and a count of 8 bytes
    assert memory["optimizer"] == memory["gradients"] == F * weights


def test_a_batch_made_inside_the_step_counts_as_inputs() -> None:
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = training_step(model, optimizer, lambda: torch.randn(20_000, 1000))
    parts = training_memory(step, model, optimizer, CPU)["train_breakdown"]
    assert parts["inputs"] == F * 20_000 * 1000
    assert parts["activations"] == pytest.approx(F * 20_000 * 400, rel=1e-3)


def test_measuring_again_gives_the_same_and_leftovers_do_not_count() -> None:
    model, images = two_layers(), torch.randn(2000, 1000)
    optimizer = torch.optim.Adam(model.parameters())
    step = training_step(model, optimizer, lambda: images)
    first = training_memory(step, model, optimizer, CPU, inputs=[images])
    leftover = torch.randn(5_000_000)
    step()
    assert training_memory(step, model, optimizer, CPU, inputs=[images]) == first
    assert leftover.numel() == 5_000_000


def test_only_what_trains_has_gradients_and_state() -> None:
    model, images = two_layers(), torch.randn(64, 1000)
    model[0].requires_grad_(False)  # type: ignore[index]
    optimizer = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
    memory = training_memory(training_step(model, optimizer, lambda: images), model, optimizer, CPU)
    assert memory["gradients"] == F * 400 * 300
    assert memory["parameters"] == WEIGHTS
    assert memory["optimizer"] == optimizer_bytes(optimizer) == 2 * F * 400 * 300 + F


def test_a_step_that_clears_its_gradients_at_its_end_is_refused() -> None:
    model, images = two_layers(), torch.randn(4, 1000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        model(images).sum().backward()
        optimizer.zero_grad(set_to_none=True)

    with pytest.raises(ValueError, match="at its start"):
        training_memory(step, model, optimizer, CPU)


def test_inference_keeps_two_neighbouring_tensors_at_a_time() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4000, bias=False), nn.ReLU())
    weights = F * 3 * 16 * 16 * 4000
    inference = Inference(model, 16, CPU, InferenceOptions(channels_last=False))
    peaks = inference_memory(inference.with_batch, inference.parameter_bytes, [500, 1000], CPU)
    for batch in (500, 1000):
        # The image, the layer's output, ReLU's output.
        assert peaks[batch] == pytest.approx(weights + F * batch * (3 * 16 * 16 + 2 * 4000), rel=1e-3)
    assert model.training


def test_inference_is_measured_of_what_is_timed_weights_in_bfloat16_too() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4000, bias=False), nn.ReLU())
    found = []
    for precision in ("fp32", "bf16"):
        inference = Inference(model, 8, CPU, InferenceOptions(precision, channels_last=False))
        found.append(inference_memory(inference.with_batch, inference.parameter_bytes, [2000], CPU)[2000])
    full, half = found
    assert full is not None and half is not None
    assert half == pytest.approx(full / 2, rel=1e-3)


def test_a_batch_that_memory_has_no_room_for_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def room_for_one(with_batch: Callable[[int], Callable[[], object]], batch: int, device: Device) -> int | None:
        tried.append(batch)
        return 100 if batch == 1 else None

    monkeypatch.setattr(memory, "inference_growth", room_for_one)
    assert inference_memory(lambda batch: lambda: None, 30, [4, 1, 2], CPU) == {1: 130, 2: None, 4: None}
    assert tried == [1, 2]  # nothing larger is tried after a failure


def test_blocks_are_paired_by_address_and_unknown_releases_ignored() -> None:
    changes = [(1, 100, 8), (2, 200, 16), (3, 100, -8), (4, 100, 32), (5, 999, -64)]
    recording = Recording(tuple(pair_blocks(changes)), backward_start=None, marks=())
    assert set(recording.blocks) == {Block(100, 8, 1, 3), Block(200, 16, 2, None), Block(100, 32, 4, None)}
    assert recording.peak() == (48, [Block(200, 16, 2, None), Block(100, 32, 4, None)])


def test_a_recording_knows_its_peak_in_the_middle() -> None:
    def run() -> None:
        large = torch.empty(1_000_000)
        del large
        torch.empty(10)

    most, alive = record_allocations(run, CPU).peak()
    assert most == F * 1_000_000
    assert [block.size for block in alive] == [F * 1_000_000]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_cuda_the_allocator_and_the_profiler_agree() -> None:
    device = choose_device("cuda")
    model = two_layers().to(device.torch_device)
    images = torch.randn(20_000, 1000, device=device.torch_device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    memory = training_memory(training_step(model, optimizer, lambda: images), model, optimizer, device, inputs=[images])
    hidden = F * 20_000 * 400
    assert memory["train_breakdown"]["activations"] == pytest.approx(hidden, rel=0.03)
    assert memory["train_peak"] == pytest.approx(WEIGHTS + F * 20_000 * 1000 + 3 * hidden + F * 400 * 300, rel=0.03)

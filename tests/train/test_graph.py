"""Steps that are replayed as a graph train as eager ones do; what cannot be one falls back and says why.

A stand-in takes the place of the device: recording computes nothing, and a replay computes the step again on what then
lies in the recorded tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerator import Gpu, StandIn

from bench.data.cache import Stored
from bench.device import Device, choose_device, require_deterministic
from bench.plugins import Registry
from bench.protocol import Protocol
from bench.request import RunOptions
from bench.run.prepare import prepare
from bench.train.graph import WARM_UP, Graph
from bench.train.loop import Progress, Trainer, fit, make_trainer, train_epoch
from bench.train.training import make_graph

require_deterministic()  # before CUDA starts, where there is any

Trained = tuple[Progress, dict[str, torch.Tensor], Trainer]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trained(
    registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol], tmp_path: Path
) -> Callable[..., Trained]:
    """`trained(graph, "schedule.name=cosine", …)`: what the tiny model has become."""

    def make(
        graph: Graph | None, *overrides: str, device: Device | None = None, file: str = "checkpoint.pt", **fits: Any
    ) -> Trained:
        protocol = tiny_protocol("augmentation.flip=true", "train.epochs=3", *overrides)
        place = device or Gpu()
        prepared = prepare(registry.model("tiny:dropout=0.3"), protocol, digits, 0, str(place.torch_device))
        batches = prepared.batches
        trainer = make_trainer(prepared.model, protocol, batches["train"].steps, "fp32", place, graph=graph)
        ended = fits.get("epoch_ended", lambda progress: None)
        progress = fit(trainer, batches["train"], batches["val"], protocol, 0, tmp_path / file, ended)
        return progress, prepared.model.state_dict(), trainer

    return make


def same(one: Trained, other: Trained) -> bool:
    equal = all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())
    return equal and (one[0].train_loss, one[0].val_loss) == (other[0].train_loss, other[0].val_loss)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_replayed_steps_train_as_eager_ones_do(schedule: str, optimizer: str, trained: Callable[..., Trained]) -> None:
    settings = (f"schedule.name={schedule}", f"optimizer.name={optimizer}")
    eager = trained(None, *settings, file="eager.pt")
    device = Gpu()
    graph = Graph(device)
    replayed = trained(graph, *settings, device=device)
    assert (device.recorded, graph.record()) == (1, {"used": True, "why": None})
    assert device.replayed >= 2 * WARM_UP
    if replayed[2].updates_in_graph:  # whose rate is a tensor of 32 bits: the same but for that
        assert replayed[0].train_loss == pytest.approx(eager[0].train_loss, rel=1e-4)
        unrecorded = Breaks(RuntimeError("no"))
        assert same(replayed, trained(Graph(unrecorded), *settings, device=unrecorded, file="unrecorded.pt"))
    else:
        assert same(replayed, eager)
    assert replayed[2].updates_in_graph == (schedule != "one-cycle" and optimizer == "adam")


def test_the_graph_s_optimizer_goes_on_where_it_was_interrupted(trained: Callable[..., Trained]) -> None:
    class Interrupted(Exception):  # noqa: N818
        pass

    def interrupt(progress: Progress) -> None:
        if progress.epochs == 2:
            raise Interrupted

    cosine = "schedule.name=cosine"
    whole = trained(Graph(Gpu()), cosine, file="whole.pt")
    with pytest.raises(Interrupted):
        trained(Graph(Gpu()), cosine, epoch_ended=interrupt)
    resumed = trained(Graph(Gpu()), cosine)
    assert same(resumed, whole)
    (group,) = resumed[2].optimizer.param_groups
    assert isinstance(group["lr"], torch.Tensor)


class Breaks(Gpu):
    """A device on which no model can be recorded."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def record(self, run: Callable[[], Any], warm_up: int = 0) -> Any:
        raise self.error


def test_what_cannot_be_recorded_trains_eagerly_and_says_why(trained: Callable[..., Trained]) -> None:
    eager = trained(None, file="eager.pt")
    device = Breaks(RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with"))
    graph = Graph(device)
    assert same(trained(graph, device=device), eager)
    why = "RuntimeError: CUDA error: operation not permitted when stream is capturing"
    assert graph.record() == {"used": False, "why": why}


def test_memory_that_runs_out_while_recording_is_no_reason_but_an_error(trained: Callable[..., Trained]) -> None:
    device = Breaks(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        trained(Graph(device), device=device)


def test_a_batch_that_does_not_fit_gives_the_graph_up(trained: Callable[..., Trained]) -> None:
    graph = Graph(Gpu())
    _, _, trainer = trained(graph)
    told: list[str] = []
    trainer.warn = told.append
    images, labels = torch.randn(8, 3, 8, 8), torch.zeros(8, dtype=torch.long)
    computes = trainer.gradients

    def full(inputs: Any, labels: torch.Tensor) -> Any:
        if trainer.most is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return computes(inputs, labels)

    trainer.gradients = full  # type: ignore[method-assign]
    trainer.step(images, labels)
    assert (trainer.most, len(told)) == (4, 1)
    assert graph.why_not == "batches are computed in parts"


def test_a_batch_of_another_shape_is_computed_by_itself() -> None:
    device = Gpu()
    graph = Graph(device)

    def step(inputs: tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
        return inputs[0].sum() + labels.sum()

    def batch(size: int, value: int) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        return (torch.full((size, 2), value),), torch.full((size,), value)

    for number in range(WARM_UP + 3):
        assert graph.carry_out(step, *batch(4, number)) == 12 * number
    assert device.replayed == 3
    assert graph.carry_out(step, *batch(5, 1)) == 15
    assert device.replayed == 3


@pytest.mark.parametrize(
    ("options", "precision", "why"),
    [
        (RunOptions(), "bf16", None),
        (RunOptions(graphs=False), "bf16", "switched off by --no-graphs"),
        (RunOptions(compile=True), "bf16", "torch.compile starts the kernels in its own way"),
        (RunOptions(), "fp16", "fp16's loss scaling waits for the device"),
    ],
)
def test_why_steps_are_not_replayed_is_recorded(options: RunOptions, precision: str, why: str | None) -> None:
    graph = make_graph(options, precision, Gpu())
    assert graph is not None and graph.why_not == why
    assert make_graph(options, precision, Device("cpu")) is None


def test_an_epoch_moves_what_it_draws_once_and_waits_for_nothing(
    registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol]
) -> None:
    """Counted on the stand-in: pictures that are resident are moved never, others a batch a step."""
    protocol = tiny_protocol("augmentation.flip=true", "augmentation.crop=0.1")
    for resident in (True, False):
        prepared = prepare(registry.model("tiny"), protocol, digits, 0, "cpu")
        accelerator = StandIn()
        batches, device = prepared.batches["train"], Gpu(accelerator)
        batches.device, batches.resident = device, resident
        trainer = make_trainer(prepared.model, protocol, batches.steps, "fp32", device)
        train_epoch(trainer, batches.shuffled(0, 0, protocol.augmentation))
        assert len(device.moved) == (1 if resident else 1 + batches.steps)
        assert accelerator.calls == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("graphs", [False, True])
def test_on_cuda_no_step_waits_for_the_device(
    graphs: bool, registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol]
) -> None:
    protocol = tiny_protocol("augmentation.flip=true", "augmentation.crop=0.1", "train.precision=bf16")
    prepared = prepare(registry.model("tiny"), protocol, digits, 0, "cuda")
    device, batches = prepared.device, prepared.batches["train"]
    graph = Graph(device) if graphs else None
    trainer = make_trainer(prepared.model, protocol, batches.steps, "bf16", device, graph=graph)
    train_epoch(trainer, batches.shuffled(0, 0, protocol.augmentation))
    batch = batches.shuffled(0, 1, protocol.augmentation)
    next(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for images, labels in batch:
            trainer.step(images, labels)
            trainer.schedule.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_on_cuda_replayed_steps_train_as_eager_ones_to_noise(schedule: str, trained: Callable[..., Trained]) -> None:
    device = choose_device("cuda")
    setting = f"schedule.name={schedule}"
    eager = trained(None, setting, device=device, file="eager.pt")
    graph = Graph(device)
    replayed = trained(graph, setting, device=device)
    assert graph.record() == {"used": True, "why": None}
    assert replayed[0].train_loss == pytest.approx(eager[0].train_loss, rel=0.02)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_cuda_a_deterministic_repeat_is_the_same_to_the_bit(trained: Callable[..., Trained]) -> None:
    device = choose_device("cuda")
    device.choose_kernels("fp32", deterministic=True)
    try:
        first, second = (trained(Graph(device), device=device, file=f"{number}.pt") for number in range(2))
    finally:
        device.choose_kernels("fp32", deterministic=False)
    assert same(first, second)

"""A model is made ready for inference, and is itself left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.device import Device, choose_device
from bench.measure.subject import Inference, InferenceOptions

CPU = Device("cpu")


class FloatOnly(nn.Module):
    """Cannot compute with bfloat16 weights, as some operators cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.dtype != torch.float32:
            raise RuntimeError("not implemented for 'BFloat16'")
        output: torch.Tensor = self.layer(images.flatten(1))
        return output


def test_reduced_precision_stores_the_weights_in_it_and_leaves_the_model_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    inference = Inference(model, 8, CPU, InferenceOptions(precision="bf16"))
    assert inference.with_batch(2)().dtype == torch.bfloat16
    assert inference.describe() == {
        "precision": "bf16",
        "channels_last": True,
        "compile": False,
        "compile_mode": "default",
        "casting": "weights",
    }
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_where_an_operator_cannot_autocast_is_used_and_said() -> None:
    inference = Inference(FloatOnly(), 8, CPU, InferenceOptions(precision="bf16"))
    assert inference.describe()["casting"] == "autocast"
    assert inference.with_batch(2)().dtype == torch.bfloat16


def test_memory_that_runs_out_is_not_taken_for_an_operator_that_cannot() -> None:
    class Full(FloatOnly):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Inference(Full(), 8, CPU, InferenceOptions(precision="bf16"))


def test_channels_last_reaches_weights_and_images() -> None:
    seen: list[bool] = []

    class Net(nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.extend(t.is_contiguous(memory_format=torch.channels_last) for t in (images, self.weight))
            return super().forward(images)

    Inference(Net(3, 8, 3), 8, CPU, InferenceOptions(channels_last=True)).with_batch(2)()
    assert seen == [True, True]


def test_compile_compiles_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    model = nn.Flatten()
    Inference(model, 8, CPU, InferenceOptions(compile=True)).with_batch(1)()
    assert len(compiled) == 1 and compiled[0] is not model


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_cuda_a_graph_of_a_pass_computes_what_the_pass_does() -> None:
    device = choose_device("cuda")
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    inference = Inference(model, 8, device, InferenceOptions("bf16"))
    torch.manual_seed(0)
    eager = inference.with_batch(2)()
    torch.manual_seed(0)
    replay = inference.graph(2)
    torch.testing.assert_close(replay(), eager)
    assert not device.has_graphs or torch.equal(replay(), replay())

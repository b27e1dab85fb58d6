"""A training step's memory, counted on tensors without values, is what a step that runs is measured to need."""

from __future__ import annotations

from itertools import product

import psutil
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.device import choose_device
from bench.measure.foreseen import Step, training_peak
from bench.measure.memory import training_memory
from bench.models.classifier import build_weightless
from bench.models.freezing import freeze, train_mode
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.run.prepare import prepare_model
from bench.train.loop import make_trainer

CPU = choose_device("cpu")
F = 4  # bytes of a float32


def test_two_layers_need_what_is_worked_out_by_hand() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 400, bias=False), nn.Linear(400, 10, bias=False))

    def make() -> tuple[Step, torch.optim.Optimizer]:
        optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, foreach=False)

        def step(images: torch.Tensor, labels: torch.Tensor) -> None:
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

        return step, optimizer

    weights, images = F * (192 * 400 + 400 * 10), F * 5 * 192
    labels, flat, hidden, logits = 5 * 8, F * 5 * 192, F * 5 * 400, F * 5 * 10
    # Weights, their momentum and their gradients; what the first layer's gradient is made of; a few numbers.
    least = 3 * weights + images + labels + flat + hidden
    assert least <= training_peak(model, (5, 8, 10), make) <= least + hidden + 4 * logits + 100


@pytest.mark.parametrize(
    ("name", "precision", "optimizer"),
    [
        *product(["vit_tiny", "fdvit_ti", "densenet121", "vit_tiny+token_merging"], ["fp32", "bf16"], ["adamw"]),
        # In float32 the library takes memory for its smallest maps that nobody sees.
        ("efficientnet_lite0", "bf16", "adamw"),
        ("vit_tiny", "bf16", "muon"),
    ],
)
@pytest.mark.slow
def test_it_is_what_a_step_is_measured_to_need(name: str, precision: str, optimizer: str) -> None:
    asked, batch = load_plugins().model(name), 16
    settings = [f"train.precision={precision}", f"train.batch_size={batch}", f"optimizer.name={optimizer}"]
    protocol = load_protocol("quick", settings)
    model = build_weightless(asked, protocol, 10)
    freeze(model, protocol.train.what, asked.last_block, asked.name)
    train_mode(model)

    def make() -> tuple[Step, torch.optim.Optimizer]:
        trainer = make_trainer(model, protocol, 1, precision, CPU)
        return trainer.step, trainer.optimizer

    foreseen = training_peak(model, (batch, 32, 10), make)
    real = prepare_model(asked, protocol, 10, 0, CPU)
    train_mode(real)
    trainer = make_trainer(real, protocol, 1, precision, CPU)
    images = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    trainer.step(images, labels)
    measured = training_memory(lambda: trainer.step(images, labels), real, trainer.optimizer, CPU, (images, labels))[
        "train_peak"
    ]
    assert foreseen == pytest.approx(measured, rel=0.1)


def test_nothing_is_allocated_for_it() -> None:
    asked, protocol = load_plugins().model("vit_base"), load_protocol("cifar10-scratch", ["data.image_size=224"])
    model = build_weightless(
        asked, protocol.model_copy(update={"model": protocol.model.model_copy(update={"options": {}})}), 10
    )
    train_mode(model)

    def make() -> tuple[Step, torch.optim.Optimizer]:
        trainer = make_trainer(model, protocol, 1, "fp32", CPU)
        return trainer.step, trainer.optimizer

    before = psutil.Process().memory_info().rss
    assert training_peak(model, (64, 224, 10), make) > 5e9
    assert psutil.Process().memory_info().rss - before < 3e8

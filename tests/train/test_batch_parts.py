"""Batches that do not fit are computed in parts, with the same update; who asks for none is told what would fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.device import Device
from bench.events import Event, Note
from bench.models.classifier import Classifier
from bench.protocol import Protocol
from bench.request import RunOptions, TrialSpec
from bench.run import trial
from bench.train.loop import Trainer, make_trainer
from bench.train.parts import in_parts

# A network that asks for too much memory above so many pictures; without batch norm, unless it is asked for.
HUNGRY = """
from bench import ModelSpec, hookimpl

def build(*, num_classes, image_size, pretrained, most=8, norm=False):
    import torch
    from torch import nn

    class Hungry(nn.Sequential):
        def forward(self, images):
            if self.training and images.device.type != "meta" and len(images) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 TiB")
            return super().forward(images)

    layers = [nn.Conv2d(3, 8, 3), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    return Hungry(*layers, nn.Flatten())

@hookimpl
def bench_models():
    yield ModelSpec("hungry", build, family="cnn")
"""


@pytest.fixture
def hungry(tiny_trial: Callable[..., TrialSpec], tmp_path: Path) -> Callable[..., TrialSpec]:
    folder = tmp_path / "hungry"
    folder.mkdir()
    (folder / "hungry.py").write_text(HUNGRY)

    def make(model: str, fit: bool = False) -> TrialSpec:
        spec = tiny_trial("train.epochs=2", "train.batch_size=32", model=model, plugins=folder)
        return replace(spec, options=RunOptions(fit=fit))

    return make


@given(st.integers(1, 40), st.none() | st.integers(1, 50))
def test_parts_are_the_batch_in_its_order(pictures: int, most: int | None) -> None:
    images, labels = torch.arange(pictures)[:, None], torch.arange(pictures)
    for inputs in (images, (images, 2 * images)):
        parts = list(in_parts(inputs, labels, most))
        assert torch.cat([own for _, own in parts]).tolist() == labels.tolist()
        assert all(len(own) <= (most or pictures) for _, own in parts)
        for part, own in parts:
            first = part if isinstance(part, torch.Tensor) else part[0]
            assert first[:, 0].tolist() == own.tolist()


def test_the_update_of_parts_is_that_of_the_whole_batch(
    tiny_protocol: Callable[..., Protocol],
) -> None:
    protocol = tiny_protocol("optimizer.name=sgd")
    torch.manual_seed(0)
    images, labels = torch.randn(13, 3, 8, 8), torch.randint(0, 10, (13,))
    start = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()).state_dict()

    def stepped(most: int | None) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())
        backbone.load_state_dict(start)
        torch.manual_seed(1)
        model = Classifier(backbone, nn.Linear(4 * 36, 10))
        trainer: Trainer = make_trainer(model, protocol, 1, "fp32", Device("cpu"))
        trainer.most = most
        step = trainer.step(images, labels)
        return step.loss, step.logits, [parameter.detach() for parameter in model.parameters()]

    loss, logits, parameters = stepped(None)
    for most in (1, 4, 12):
        other_loss, other_logits, other_parameters = stepped(most)
        torch.testing.assert_close(other_loss, loss)
        torch.testing.assert_close(other_logits, logits)
        torch.testing.assert_close(other_parameters, parameters)


def test_who_does_not_ask_for_it_is_told_what_would_fit(hungry: Callable[..., TrialSpec]) -> None:
    record = trial.run(hungry("hungry"))
    assert record.status == "oom" and record.error is not None
    assert record.error.message == (
        "out of memory in batches of 32 pictures; 8 would fit: --fit computes each batch in parts, with the same "
        "update, or --set train.batch_size=8 (CUDA out of memory. Tried to allocate 1.00 TiB)"
    )
    record = trial.run(hungry("hungry:most=0"))
    assert record.error is not None and record.error.message.partition(" (")[0].endswith("; not even one would fit")


def test_a_trial_whose_batches_do_not_fit_comes_to_the_same_in_parts(hungry: Callable[..., TrialSpec]) -> None:
    whole = trial.run(hungry("hungry:most=99", fit=True))
    told: list[Event] = []
    parts = trial.run(hungry("hungry:most=8", fit=True), told.append)
    assert (whole.status, parts.status) == ("ok", "ok")
    assert whole.training is not None and parts.training is not None
    assert (whole.training.micro_batch, parts.training.micro_batch) == (None, 8)
    assert parts.training.history.train_loss == pytest.approx(whole.training.history.train_loss, rel=1e-4)
    notes = [event.text for event in told if isinstance(event, Note)]
    assert [text for text in notes if "out of memory" in text] == [
        "hungry:most=8: out of memory in parts of 32 pictures: each batch is computed in parts of 16, with the same "
        "update; batch norm sees the parts",
        "hungry:most=8: out of memory in parts of 16 pictures: each batch is computed in parts of 8, with the same "
        "update; batch norm sees the parts",
    ]
    assert parts.efficiency is not None and parts.efficiency.memory is not None
    assert parts.efficiency.errors is None  # measured in parts that fit, too

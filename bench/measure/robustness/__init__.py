"""Top-1 on the test pictures under common corruptions, in five severities: Hendrycks and Dietterich, ICLR 2019.

What is corrupted is what the model is given, at the protocol's size, with the strengths that were published for the
nearest one. That is CIFAR-10-C's way for pictures that stay at 32 pixels. Where they are enlarged first, a published
file of corrupted small pictures is another test. ImageNet-C was also saved as JPEG once more; this is not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.hookspecs import Subject, Trained
from bench.measure.robustness.corruptions import CORRUPTIONS
from bench.measure.robustness.draws import Draws
from bench.measure.robustness.parameters import strengths
from bench.measure.robustness.parts import cut, rounded

# Pictures that are corrupted at once: several copies of them, in 32 bits and more, are in memory then.
AT_ONCE = 64


def measure(subject: Subject) -> dict[str, Any] | None:
    """The model's top-1 (0..1): clean, by corruption and severity, by corruption, and the mean of those.

    None of a model that was not trained.
    """
    trained = subject.trained
    if trained is None:
        return None
    published, chosen = strengths(subject.image_size)
    clean, right, pictures = _right(subject, trained, chosen)
    accuracy = {name: [count / pictures for count in row] for name, row in zip(chosen, right, strict=True)}
    by_corruption = {name: sum(row) / len(row) for name, row in accuracy.items()}
    return {
        "mean": sum(by_corruption.values()) / len(by_corruption),
        "clean": clean / pictures,
        "by_corruption": by_corruption,
        "accuracy": accuracy,
        "strengths": published,
        "left_out": ["frost"],
        "pictures": pictures,
    }


@torch.no_grad()  # autocast keeps the weights that it casts from one batch to the next, as in no inference mode
def _right(subject: Subject, trained: Trained, chosen: dict[str, tuple[Any, ...]]) -> tuple[int, list[list[int]], int]:
    """How many pictures the model gets right: clean, by corruption and severity; and how many there are."""
    device, model = subject.device, subject.model
    mean, std = (device.move(torch.tensor(own).view(1, 3, 1, 1)) for own in (trained.mean, trained.std))

    def classified(pictures: Tensor, labels: Tensor) -> Tensor:
        images = ((pictures - mean) / std).contiguous(memory_format=torch.channels_last)
        with device.autocast(subject.precision):
            logits: Tensor = model(images)
        return (logits.argmax(1) == labels).sum()

    clean = device.move(torch.zeros((), dtype=torch.int64))
    right = device.move(torch.zeros(len(chosen), 5, dtype=torch.int64))
    seen = 0
    for batch, classes in trained.test():
        for start in range(0, len(classes), AT_ONCE):
            images, labels = batch[start : start + AT_ONCE], classes[start : start + AT_ONCE]
            pictures = rounded(images * std + mean).contiguous()
            clean += classified(pictures, labels)
            for row, (name, levels) in enumerate(chosen.items()):
                for place, strength in enumerate(levels):
                    draws = Draws(trained.seed, name, place + 1, seen, len(labels), device)
                    corrupted = cut(CORRUPTIONS[name](pictures, strength, draws))
                    right[row, place] += classified(corrupted, labels)
            seen += len(labels)
    return int(clean), right.tolist(), seen

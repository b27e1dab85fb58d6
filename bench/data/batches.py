"""Batches on the device: the same pictures in the same order with the same augmentation for every model.

Order and augmentation are drawn on the CPU from the trial's seed and the epoch alone, so neither the
model, nor the device, nor an interrupted run changes them. All arithmetic is on whole batches on the
device: flip and crop (one gather), resizing, normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bench.data.cache import Stored
from bench.data.splits import Subset
from bench.device import Device
from bench.protocol import Augmentation

Batch = tuple[torch.Tensor, torch.Tensor]


def epoch_seed(seed: int, epoch: int) -> int:
    """One seed for each epoch of each trial, far from every other."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True)
class Preparation:
    """What becomes of a picture before the model sees it: side in pixels, mean and deviation by channel (of 0..1)."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Batches:
    """A subset's pictures as batches of images (B, 3, S, S; float32) and classes (B; int64), on the device."""

    def __init__(
        self, stored: Stored, subset: Subset, preparation: Preparation, batch_size: int, device: Device
    ) -> None:
        images = torch.from_numpy(np.ascontiguousarray(stored.images(subset.part)[subset.indices]))
        self.images = device.keep(images.permute(0, 3, 1, 2).contiguous())  # (N, 3, H, W) of uint8
        labels = stored.labels(subset.part)[subset.indices] if subset.labels is None else subset.labels
        self.labels = device.keep(torch.from_numpy(labels))
        self.subset = subset
        self.preparation = preparation
        self.batch_size = batch_size
        self.device = device
        self.image_size = preparation.image_size
        scale = 255 * torch.tensor(preparation.std).view(1, 3, 1, 1)
        self._scale = device.move(1 / scale)
        self._shift = device.move(-255 * torch.tensor(preparation.mean).view(1, 3, 1, 1) / scale)

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Batches in a training epoch. A last, smaller one is left out: batch norm would see too few pictures."""
        return max(1, len(self) // self.batch_size)

    def shuffled(self, seed: int, epoch: int, augmentation: Augmentation) -> Iterator[Batch]:
        """One training epoch: each picture at most once, in the order and with the changes of that seed and epoch."""
        for chosen, generator in self.drawn(seed, epoch):
            yield self._batch(chosen, augmentation, generator)

    def drawn(self, seed: int, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Generator]]:
        """For each batch of that epoch: which pictures (B), and the generator that its changes are drawn from."""
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = torch.randperm(len(self), generator=generator)
        for step in range(self.steps):
            yield order[step * self.batch_size : (step + 1) * self.batch_size], generator

    def in_order(self, *, flipped: bool = False) -> Iterator[Batch]:
        """Every picture once, unchanged but for size and normalisation, or all of them flipped."""
        for start in range(0, len(self), self.batch_size):
            chosen = torch.arange(start, min(start + self.batch_size, len(self)))
            images = self.images[chosen.to(self.images.device)]
            yield self._finished(images.flip(3) if flipped else images, chosen)

    def _batch(self, chosen: torch.Tensor, augmentation: Augmentation, generator: torch.Generator) -> Batch:
        place = self.images.device
        if augmentation == Augmentation():
            images = self.images[chosen.to(place)]
        else:
            rows, columns = augmented_positions(len(chosen), self.images.shape[2:], augmentation, generator)
            picture = chosen.to(place).view(-1, 1, 1, 1)
            channel = torch.arange(3, device=place).view(1, -1, 1, 1)
            rows, columns = rows.to(place)[:, None, :, None], columns.to(place)[:, None, None, :]
            images = self.images[picture, channel, rows, columns]
        return self._finished(images, chosen)

    def _finished(self, images: torch.Tensor, chosen: torch.Tensor) -> Batch:
        """The pictures (B, 3, H, W; uint8) and their classes as a batch on the device."""
        labels = self.device.move(self.labels[chosen.to(self.labels.device)])
        return self._prepared(self.device.move(images)), labels

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        floats = images.float()
        size = self.image_size
        if floats.shape[2:] != (size, size):
            shrinks = floats.shape[2] > size or floats.shape[3] > size
            floats = functional.interpolate(floats, (size, size), mode="bilinear", antialias=shrinks)
        return floats.mul_(self._scale).add_(self._shift)


def augmented_positions(
    count: int, size: tuple[int, ...] | torch.Size, augmentation: Augmentation, generator: torch.Generator
) -> Batch:
    """Where each pixel of `count` augmented pictures (H, W) comes from: its rows (count, H) and columns (count, W).

    Cropping out of a picture with a mirrored border is a shift of the positions, reflected at the
    edges; flipping turns the columns round. Flips are drawn first, so that they do not depend on
    whether the protocol crops.
    """
    height, width = size
    flipped = drawn_flips(count, generator)
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if augmentation.crop:
        reach = max(1, round(augmentation.crop * min(height, width)))
        shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
        rows = _mirrored(rows + shift[0], height)
        columns = _mirrored(columns + shift[1], width)
    if augmentation.flip:
        columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    return rows, columns


def drawn_flips(count: int, generator: torch.Generator) -> torch.Tensor:
    """Which of `count` pictures are flipped: half of them, by chance."""
    return torch.rand(count, generator=generator) < 0.5


def _mirrored(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Positions outside 0..size-1, reflected at the edge pixel."""
    positions = positions.abs()
    return (size - 1) - ((size - 1) - positions).abs()

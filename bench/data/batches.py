"""Batches on the device: the same pictures in the same order with the same augmentation for every model.

Order and augmentation are drawn on the CPU from the trial's seed and the epoch alone, so neither the model, nor the
device, nor an interrupted run changes them. What an epoch draws is moved to the device at once, so that no step waits
for it. Where the pictures are neither on the device nor in a CPU's memory, a thread gathers them a few batches ahead,
from main memory or from the disk. All arithmetic is on whole batches on the device: crop and flip (two gathers),
resizing, normalisation. Pictures lie as on disk, channels last, and so do batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from bench.data import augment
from bench.data.cache import Stored
from bench.data.draws import Drawn, Views, draw, draw_views
from bench.data.rows import FileRows, read_ahead
from bench.data.splits import Subset
from bench.device import Device
from bench.protocol import Augmentation

Batch = tuple[torch.Tensor, torch.Tensor]


def epoch_seed(seed: int, epoch: int) -> int:
    """One seed for each epoch of each trial, far from every other."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True)
class Preparation:
    """What becomes of a picture before the model sees it: side in pixels, mean and deviation by channel (of 0..1), and
    whether one that is not square is cropped or stretched (the protocol's `data.resize`)."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "crop"


class Batches:
    """A subset's pictures as batches of images (B, 3, S, S; float32) and classes (B; int64), on the device."""

    def __init__(
        self,
        stored: Stored,
        subset: Subset,
        preparation: Preparation,
        batch_size: int,
        device: Device,
        *,
        in_memory: bool = True,
    ) -> None:
        rows = stored.rows(subset.part, subset.indices)
        self.images: torch.Tensor | FileRows = rows  # (N, H, W, 3) of uint8
        self.resident = False  # whether batches are gathered where they are computed with
        if in_memory:
            images = torch.from_numpy(rows.read())
            self.images = device.keep(images)
            self.resident = not device.is_accelerator or self.images is not images
        labels = stored.labels(subset.part)[subset.indices] if subset.labels is None else subset.labels
        self.labels = device.move(torch.from_numpy(labels))
        self.classes = len(stored.classes)
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

    def leave_device(self) -> None:
        """Keep the pictures in main memory from now on: what is measured has the accelerator's for itself."""
        if isinstance(self.images, torch.Tensor):
            self.images = self.device.let_go(self.images)
            self.resident = not self.device.is_accelerator

    @property
    def kept_in(self) -> str:
        """Where the pictures are: "accelerator", "memory" or "file"."""
        if isinstance(self.images, FileRows):
            return "file"
        return "accelerator" if self.images.device.type != "cpu" else "memory"

    def shuffled(self, seed: int, epoch: int, augmentation: Augmentation) -> Iterator[Batch]:
        """One training epoch: each picture at most once, in the order and with the changes of that seed and epoch."""
        drawn = self.drawn(seed, epoch, augmentation)
        return self._shown(drawn, self._further(seed, epoch, augmentation, drawn))

    def _shown(self, drawn: Drawn, further: augment.Variations | None) -> Iterator[Batch]:
        moved = drawn.on(self.device)
        gathered = None if self.resident else self._gathered(drawn.chosen.numpy())
        for step in range(len(drawn.chosen)):
            flipped = None if moved.flipped is None else moved.flipped[step]
            shifts = None if moved.shifts is None else moved.shifts[:, step]
            chosen = moved.chosen[step]
            if gathered is None:
                assert isinstance(self.images, torch.Tensor)
                images = augmented(self.images, chosen, flipped, shifts)
            else:
                images = augmented(self.device.move(next(gathered)), None, flipped, shifts)
            if further is None:
                yield self._prepared(images), self.labels[chosen]
            else:
                yield self._varied(images, self.labels[chosen], further, step)

    def drawn(self, seed: int, epoch: int, augmentation: Augmentation) -> Drawn:
        """What that epoch draws of order, flips and shifts."""
        size = self.images.shape[1:3]
        if not augmentation.views:
            return draw(len(self), self.batch_size, size, epoch_seed(seed, epoch), augmentation)
        chosen = draw(len(self), self.batch_size, size, epoch_seed(seed, epoch), Augmentation()).chosen
        generator = torch.Generator().manual_seed(epoch_seed(epoch_seed(seed, epoch), 2))
        views = torch.randint(augmentation.views, chosen.shape, generator=generator)
        return self._all_views(seed, augmentation).shown(chosen, views)

    def _further(self, seed: int, epoch: int, augmentation: Augmentation, drawn: Drawn) -> augment.Variations | None:
        """What that epoch draws beyond them; from a seed of its own, so that those stay the same."""
        if not (augmentation.varies or augmentation.mixes):
            return None
        own = epoch_seed(epoch_seed(seed, epoch), 1)
        steps, count = drawn.chosen.shape
        if drawn.views is None:
            further = augment.draw(steps, count, augmentation, own)
        else:
            further = self._all_views(seed, augmentation).further.of(drawn.views, drawn.chosen)
        return further.on(self.device, augment.draw_mixtures(steps, augmentation, own))

    def _all_views(self, seed: int, augmentation: Augmentation) -> Views:
        height, width = self.images.shape[1:3]
        return draw_views(len(self), (height, width), augmentation, epoch_seed(epoch_seed(seed, 0), 3))

    def in_order(self, *, flipped: bool = False) -> Iterator[Batch]:
        """Every picture once, unchanged but for size and normalisation, or all of them flipped."""
        own = [slice(start, start + self.batch_size) for start in range(0, len(self), self.batch_size)]
        for one, images in zip(own, map(self._read, own) if self.resident else self._gathered(own), strict=True):
            images = self.device.move(images)
            yield self._prepared(images.flip(2) if flipped else images), self.labels[one]

    def in_view(self, view: int, seed: int, augmentation: Augmentation) -> Iterator[Batch]:
        """Every picture once, in that one of the augmentation's fixed number of views."""
        views = self._all_views(seed, augmentation)
        for start in range(0, len(self), self.batch_size):
            own = torch.arange(start, min(start + self.batch_size, len(self)))[None]
            rows = torch.full_like(own, view)
            further = views.further.of(rows, own).on(self.device) if augmentation.varies else None
            yield from self._shown(views.shown(own, rows), further)

    def _gathered(self, batches: Iterable[np.ndarray | slice]) -> Iterator[torch.Tensor]:
        """The pictures of each of those batches in main memory, ready to be moved."""
        return read_ahead(lambda chosen: self.device.ready(self._read(chosen)), batches)

    def _read(self, chosen: np.ndarray | slice) -> torch.Tensor:
        """Those pictures, where they are kept; of the disk's, in main memory."""
        if isinstance(self.images, FileRows):
            return torch.from_numpy(self.images.read(chosen))
        return self.images[chosen if isinstance(chosen, slice) else torch.from_numpy(chosen)]

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures (B, H, W, 3; uint8) as images (B, 3, S, S; float32), channels last in memory."""
        return self._resized(images.permute(0, 3, 1, 2).float()).mul_(self._scale).add_(self._shift)

    def _resized(self, floats: torch.Tensor) -> torch.Tensor:
        size = self.image_size
        if self.preparation.resize == "stretch":
            return scaled(floats, (size, size))
        height, width = floats.shape[2:]
        short = min(height, width)
        height, width = round(height * size / short), round(width * size / short)
        top, left = (height - size) // 2, (width - size) // 2
        return scaled(floats, (height, width))[:, :, top : top + size, left : left + size]

    def _varied(self, images: torch.Tensor, labels: torch.Tensor, drawn: augment.Variations, step: int) -> Batch:
        """As `_prepared`, with what was drawn for that step; of mixed pictures each class's share (B, classes)."""
        floats = images.permute(0, 3, 1, 2).float()
        if drawn.crop is None:
            floats = self._resized(floats)
        else:
            floats = augment.resized_crop(floats, drawn.crop[step], self.image_size)
        if drawn.rand is not None:
            floats = drawn.rand.apply(step, floats.round().to(torch.uint8)).float()
        if drawn.jitter is not None:
            floats = augment.jittered(floats, drawn.jitter[step])
        floats = floats.mul_(self._scale).add_(self._shift)
        if drawn.erased is not None:
            floats = augment.erased(floats, drawn.erased[step])
        if drawn.mix is not None:
            floats, labels = augment.mixed(floats, functional.one_hot(labels, self.classes).float(), drawn.mix[step])
        return floats.contiguous(memory_format=torch.channels_last), labels


def scaled(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (B, 3, H, W) of another height and width, bilinearly, smoothed first where they shrink."""
    if images.shape[2:] == size:
        return images
    shrinks = images.shape[2] > size[0] or images.shape[3] > size[1]
    return functional.interpolate(images, size, mode="bilinear", antialias=shrinks)


def augmented(
    pictures: torch.Tensor, chosen: torch.Tensor | None, flipped: torch.Tensor | None, shifts: torch.Tensor | None
) -> torch.Tensor:
    """The chosen (B) of the pictures (N, H, W, 3), all if None: shifted by `shifts` (2, B), then `flipped` (B)."""
    if chosen is None:
        chosen = torch.arange(len(pictures), device=pictures.device)
    height, width = pictures.shape[1:3]
    rows, columns = positions((height, width), flipped, shifts)
    if rows is None:
        images = pictures.index_select(0, chosen)
    else:  # whole rows, which are copied as they lie
        rows = (rows + height * chosen[:, None]).flatten()
        images = pictures.flatten(0, 1).index_select(0, rows).view(len(chosen), height, width, 3)
    return images if columns is None else images.gather(2, columns[:, None, :, None].expand(-1, height, -1, 3))


def positions(
    size: tuple[int, int], flipped: torch.Tensor | None, shifts: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Where each pixel of a batch of augmented pictures (H, W) comes from: rows (B, H) and columns (B, W).

    None where all stay. Cropping out of a picture with a mirrored border is a shift of the positions, reflected at the
    edges; flipping turns the columns round.
    """
    rows = columns = None
    height, width = size
    if shifts is not None:
        rows = _mirrored(torch.arange(height, device=shifts.device) + shifts[0, :, None], height)
        columns = _mirrored(torch.arange(width, device=shifts.device) + shifts[1, :, None], width)
    if flipped is not None:
        columns = torch.arange(width, device=flipped.device)[None] if columns is None else columns
        columns = torch.where(flipped[:, None] == 1, width - 1 - columns, columns)
    return rows, columns


def _mirrored(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Positions outside 0..size-1, reflected at the edge pixel."""
    positions = positions.abs()
    return (size - 1) - ((size - 1) - positions).abs()

"""The features of a frozen prefix, computed once for every picture, as batches to train the rest on.

A protocol that augments by flipping, or not at all, shows each picture in two ways at most; another may name a fixed
number of views. So many are the features of a picture, and every epoch draws from them as from the pictures.
They are kept on the accelerator or in memory where they fit, else in a file mapped into memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from bench.data.batches import Batch, Batches
from bench.device import Device, memory_share
from bench.files import cache_folder
from bench.protocol import Augmentation
from bench.train.prefix.cut import CannotSplitError, Features, Prefix

FeatureBatch = tuple[Features, torch.Tensor]


@dataclass(frozen=True)
class Rows:
    """One feature of all views: `stored[view * pictures + picture]`, the channels last if `channels_last`."""

    stored: torch.Tensor
    channels_last: bool
    dtype: torch.dtype

    def take(self, rows: torch.Tensor | slice, device: Device) -> torch.Tensor:
        """The rows as the prefix gave them: (B, …), on the device, in its type and memory format.

        `rows` lie where `stored` does.
        """
        taken = device.move(self.stored[rows]).to(self.dtype)
        return taken.permute(0, 3, 1, 2) if self.channels_last else taken


class FeatureBatches:
    """In place of Batches: a subset's features (B, …) and classes (B; int64), on the device."""

    def __init__(self, batches: Batches, features: Sequence[Rows]) -> None:
        self.batches = batches
        self.features = features
        self.labels = batches.labels
        self.batch_size = batches.batch_size
        self.steps = batches.steps

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.batches)

    def shuffled(self, seed: int, epoch: int, augmentation: Augmentation) -> Iterator[FeatureBatch]:
        """One training epoch: the same pictures in the same order and the same views as Batches gives."""
        drawn = self.batches.drawn(seed, epoch, augmentation)
        views = drawn.flipped if drawn.views is None else drawn.views
        rows = drawn.chosen if views is None else drawn.chosen + len(self) * views
        # Moved once an epoch: a step waits for nothing.
        chosen, on_device = self.batches.device.move(torch.stack([drawn.chosen, rows]))
        resident = self.features[0].stored.device == on_device.device
        for step in range(self.steps):
            yield self._batch(chosen[step], (on_device if resident else rows)[step])

    def in_order(self) -> Iterator[FeatureBatch]:
        """The features of every picture once, in the first of its views."""
        for start in range(0, len(self), self.batch_size):
            own = slice(start, min(start + self.batch_size, len(self)))
            yield self._batch(own, own)

    def _batch(self, chosen: torch.Tensor | slice, rows: torch.Tensor | slice) -> FeatureBatch:
        device = self.batches.device
        return tuple(feature.take(rows, device) for feature in self.features), self.labels[chosen]


@dataclass(frozen=True)
class Extraction:
    """What was computed, and what it cost: seconds, bytes, where they are kept and in which types."""

    batches: FeatureBatches
    seconds: float
    bytes: int
    kept_in: str
    dtypes: list[str]


def fixed_views(batches: Batches, augmentation: Augmentation, seed: int) -> list[Iterator[Batch]]:
    """Every way in which the augmentation shows the pictures. Raises CannotSplitError where they are not fixed."""
    if augmentation.mixes:
        raise CannotSplitError("what is mixed with a picture is another one in each epoch")
    if augmentation.views:
        return [batches.in_view(view, seed, augmentation) for view in range(augmentation.views)]
    if augmentation.crop or augmentation.varies:
        what = "crop" if augmentation.crop else "augmentation"
        raise CannotSplitError(f"the {what} shows each epoch other pictures; augmentation.views would fix their number")
    return [batches.in_order(flipped=flipped) for flipped in ([False, True] if augmentation.flip else [False])]


def extract(
    prefix: Prefix,
    batches: Batches,
    views: Sequence[Iterator[Batch]],
    precision: str,
    half: bool,
    memory: int | None = None,
) -> Extraction:
    """Compute the prefix's features of each picture in each of its views, of which every one is shown in order.

    `half` keeps them in sixteen bits: bfloat16 under bf16, else float16. `memory` is the most bytes of main
    memory to use, by default half of what is free. The prefix's model has to be in evaluation mode. Raises
    CannotSplitError where there is no room for the features, or where they exceed the range of sixteen bits.
    """
    started = time.perf_counter()
    device, rows = batches.device, len(views) * len(batches)
    # In the batches of training, so that the same kernels give the same numbers as without features.
    parts = chain.from_iterable(views)
    shapes, dtypes, last, filled = [], [], [], 0
    sixteen = torch.bfloat16 if precision == "bf16" else torch.float16
    with torch.no_grad(), device.autocast(precision):
        outputs = (prefix(images) for images, _ in parts)
        first = next(outputs)
        for feature in first:
            last.append(feature.ndim == 4 and feature.is_contiguous(memory_format=torch.channels_last))
            shapes.append((rows, *_in_storage(feature, last[-1]).shape[1:]))
            dtypes.append(sixteen if half and feature.dtype == torch.float32 else feature.dtype)
        stored, kept_in = allocate(shapes, dtypes, device, memory)
        for features in chain([first], outputs):
            for place, feature, channels_last in zip(stored, features, last, strict=True):
                part = place[filled : filled + len(feature)]
                part.copy_(_in_storage(feature, channels_last))
                if part.dtype != feature.dtype and not part.isfinite().all():
                    raise CannotSplitError("its features exceed the range of sixteen bits")
            filled += len(features[0])
    device.synchronize()
    device.release_memory()  # the activations of the prefix
    kept = [Rows(*row) for row in zip(stored, last, [feature.dtype for feature in first], strict=True)]
    return Extraction(
        FeatureBatches(batches, kept),
        time.perf_counter() - started,
        sum(tensor.nbytes for tensor in stored),
        kept_in,
        [str(dtype).removeprefix("torch.") for dtype in dtypes],
    )


def _in_storage(feature: torch.Tensor, channels_last: bool) -> torch.Tensor:
    return feature.permute(0, 2, 3, 1) if channels_last else feature


def allocate(
    shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype], device: Device, memory: int | None
) -> tuple[list[torch.Tensor], str]:
    """Empty tensors, and where they are: "accelerator", "memory" or "file". Raises CannotSplitError without room."""
    needed = sum(torch.Size(shape).numel() * dtype.itemsize for shape, dtype in zip(shapes, dtypes, strict=True))
    if device.has_room(needed):
        place = device.torch_device
        return [torch.empty(s, dtype=d, device=place) for s, d in zip(shapes, dtypes, strict=True)], "accelerator"
    if needed <= (memory_share() if memory is None else memory):
        return [torch.empty(s, dtype=d) for s, d in zip(shapes, dtypes, strict=True)], "memory"
    folder = cache_folder() / "features"
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > 0.9 * free:  # a full disk harms others too
        raise CannotSplitError(f"its features take {needed:,} bytes; {folder} has {free:,} free")
    return [_mapped(folder, shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)], "file"


def _mapped(folder: Path, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A tensor in a file that is gone when the process ends, however it ends."""
    handle, name = tempfile.mkstemp(dir=folder)
    os.close(handle)
    flat = torch.from_file(name, shared=True, size=torch.Size(shape).numel(), dtype=dtype)
    with contextlib.suppress(PermissionError):  # Windows does not remove a file that is open
        Path(name).unlink()
    return flat.view(shape)


Source = Batches | FeatureBatches
Forward = Callable[[Any], torch.Tensor]

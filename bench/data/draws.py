"""What an epoch draws: order, flips and shifts; anew, or out of a fixed number of views.

Drawn on the CPU, from a seed alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.data import augment
from bench.device import Device
from bench.protocol import Augmentation


@dataclass(frozen=True)
class Drawn:
    """What an epoch draws, a row a batch: which pictures (steps, B), which of them are flipped (steps, B; 0 or 1), and
    by how many rows and columns each is shifted (2, steps, B); all int64, and None where that is no augmentation.
    `views`: of a fixed number of views, which each picture has (steps, B; int64).
    """

    chosen: torch.Tensor
    flipped: torch.Tensor | None
    shifts: torch.Tensor | None
    views: torch.Tensor | None = None

    def on(self, device: Device) -> Drawn:
        """The same on the device, moved at once; but for the views, which are then done with."""
        parts = [self.chosen[None], *([] if self.flipped is None else [self.flipped[None]])]
        parts += [] if self.shifts is None else [self.shifts]
        chosen, *others = device.move(torch.cat(parts))
        flipped = None if self.flipped is None else others.pop(0)
        return Drawn(chosen, flipped, torch.stack(others) if others else None)


def draw(pictures: int, batch_size: int, size: Sequence[int], seed: int, augmentation: Augmentation) -> Drawn:
    """What one epoch draws of so many pictures of that size (H, W), in whole batches; in one, where they fill none.

    Each batch draws its flips first, so that they do not depend on whether the protocol crops.
    """
    generator = torch.Generator().manual_seed(seed)
    own = min(batch_size, pictures)
    steps = pictures // own
    chosen = torch.randperm(pictures, generator=generator)[: steps * own].view(steps, own)
    if not (augmentation.flip or augmentation.crop):
        return Drawn(chosen, None, None)
    reach = reach_of(augmentation, size)
    flips, shifts = [], []
    for _ in range(steps):
        flips.append(torch.rand(own, generator=generator) < 0.5)
        if augmentation.crop:
            shifts.append(torch.randint(-reach, reach + 1, (2, own), generator=generator))
    return Drawn(
        chosen,
        torch.stack(flips).long() if augmentation.flip else None,
        torch.stack(shifts, 1) if shifts else None,
    )


def reach_of(augmentation: Augmentation, size: Sequence[int]) -> int:
    """By how many pixels pictures of that size (H, W) are shifted at most."""
    return max(1, round(augmentation.crop * min(size)))


@dataclass(frozen=True)
class Views:
    """All views of all pictures, a row a view: flips (K, N; 0 or 1), shifts (2, K, N), and what is further drawn."""

    flipped: torch.Tensor | None
    shifts: torch.Tensor | None
    further: augment.Draws

    def shown(self, chosen: torch.Tensor, views: torch.Tensor) -> Drawn:
        """Batches of those pictures, each in that view of its own; both (steps, B)."""
        flipped = None if self.flipped is None else self.flipped[views, chosen]
        shifts = None if self.shifts is None else self.shifts[:, views, chosen]
        return Drawn(chosen, flipped, shifts, views)


@functools.lru_cache(maxsize=1)  # each epoch of a trial asks
def draw_views(pictures: int, size: tuple[int, int], augmentation: Augmentation, seed: int) -> Views:
    """The views of so many pictures of that size (H, W)."""
    generator = torch.Generator().manual_seed(seed)
    shape, reach = (augmentation.views, pictures), reach_of(augmentation, size)
    flips = torch.rand(shape, generator=generator) < 0.5
    shifts = torch.randint(-reach, reach + 1, (2, *shape), generator=generator)
    return Views(
        flips.long() if augmentation.flip else None,
        shifts if augmentation.crop else None,
        augment.draw(*shape, augmentation, seed),
    )

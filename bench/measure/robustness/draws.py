"""What is drawn at random for a corruption: by the trial's seed and the picture alone.

So every model of a comparison sees the same pictures, on any device and in batches of any size. All is drawn on the
CPU, as augmentation is, from a generator for each picture: those that belong to the process are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from bench.device import Device


class Draws:
    """Random numbers for `count` pictures, of which the first is number `first` of the test pictures.

    All are float32 on the device, in each a row for each picture; the next call gives others.
    """

    def __init__(self, seed: int, corruption: str, severity: int, first: int, count: int, device: Device) -> None:
        self._device = device
        self._generators = [
            torch.Generator().manual_seed(_seed_of(seed, corruption, severity, picture))
            for picture in range(first, first + count)
        ]

    def normal(self, *shape: int) -> Tensor:
        """Of mean 0 and deviation 1: (B, *shape)."""
        return self._each(lambda generator: torch.randn(shape, generator=generator))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Between the two: (B, *shape)."""
        return self._each(lambda generator: torch.rand(shape, generator=generator)) * (high - low) + low

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from `low` up to one below `high`, int64: (B, *shape)."""
        return self._each(lambda generator: torch.randint(low, high, shape, generator=generator))

    def poisson(self, means: Tensor) -> Tensor:
        """Counts with these means, of the same shape: a row for each picture."""
        rows = iter(means.cpu())
        return self._each(lambda generator: torch.poisson(next(rows), generator))

    def _each(self, draw: Callable[[Generator], Tensor]) -> Tensor:
        return self._device.move(torch.stack([draw(generator) for generator in self._generators]))


def _seed_of(seed: int, corruption: str, severity: int, picture: int) -> int:
    """Far from every other."""
    entropy = [seed, int.from_bytes(corruption.encode()), severity, picture]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))

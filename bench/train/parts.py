"""Batches in parts, where whole ones do not fit into the memory: the gradients of the parts add up to the batch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench.device import Device, out_of_memory


class DoesNotFitError(Exception):
    """A batch does not fit into the memory; the text says what would."""


def in_parts(inputs: Any, labels: torch.Tensor, most: int | None) -> Iterator[tuple[Any, torch.Tensor]]:
    """The batch in parts of `most` pictures at most, in order; whole where it has no more, or None.

    `inputs` is a tensor (N, …), or a tuple of such: a frozen prefix's features.
    """
    if most is None or len(labels) <= most:
        yield inputs, labels
        return
    for start in range(0, len(labels), most):
        own = slice(start, start + most)
        part = inputs[own] if isinstance(inputs, torch.Tensor) else tuple(tensor[own] for tensor in inputs)
        yield part, labels[own]


def halved(error: Exception, pictures: int, most: int | None) -> tuple[int, int]:
    """Of how many pictures the parts were that did not fit into the memory, and of how many they are to be.

    Raises the error where it is another one, or a part was of one picture.
    """
    held = min(most or pictures, pictures)
    if held == 1 or not out_of_memory(error):
        raise error
    return held, (held + 1) // 2


def largest_that_fits(computes: Callable[[int], object], pictures: int, device: Device) -> int | None:
    """Of half of so many pictures, a quarter, and so on, the most that can be computed; None: not even one."""
    while pictures > 1:
        pictures //= 2
        try:
            computes(pictures)
            return pictures
        except Exception as error:
            if not out_of_memory(error):
                raise
        # Only here are the frames gone that hold what filled the memory.
        device.release_memory()
    return None


def what_fits(batch: int, largest: int | None, said: str) -> str:
    """What a user is told whose batches do not fit; `said` is the error that it began with."""
    head = f"out of memory in batches of {batch} pictures"
    if largest is None:
        return f"{head}; not even one would fit ({said})"
    return (
        f"{head}; {largest} would fit: --fit computes each batch in parts, with the same update, or "
        f"--set train.batch_size={largest} ({said})"
    )

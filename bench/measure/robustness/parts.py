"""What several corruptions are made of: smoothing, zooming and moving whole batches of pictures (B, C, S, S)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Less than float32 leaves of a grey level that was not touched, more than nothing.
SLACK = 1e-3


def cut(pictures: Tensor) -> Tensor:
    """Pictures in 0..1 with eight bits a channel; between two grey levels the lower one, as in the authors' files."""
    return pictures.clamp(0, 1).mul(255).add_(SLACK).floor_().div_(255)


def rounded(pictures: Tensor) -> Tensor:
    """The same, to the nearest grey level; halves up."""
    return cut(pictures + 0.5 / 255)


def nearest(places: np.ndarray, size: int) -> np.ndarray:
    """Places outside 0..size-1, moved to the edge."""
    inside: np.ndarray = np.clip(places, 0, size - 1)
    return inside


def mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Places outside 0..size-1, reflected about the edge (c b a | a b c d)."""
    inside: np.ndarray = np.minimum(places % (2 * size), -(places + 1) % (2 * size))
    return inside


def mirrored_within(places: np.ndarray, size: int) -> np.ndarray:
    """Places outside 0..size-1, reflected about the edge's pixel (d c b | a b c d)."""
    inside: np.ndarray = np.minimum(places % (2 * size - 2), -places % (2 * size - 2))
    return inside


def smoothed(
    pictures: Tensor, sigma: float, outside: Callable[[np.ndarray, int], np.ndarray], deviations: float
) -> Tensor:
    """Pictures through a Gaussian that is cut off after so many deviations."""
    size, radius = pictures.shape[-1], int(deviations * sigma + 0.5)
    if radius == 0:
        return pictures
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    matrix = np.zeros((size, size))
    for offset, weight in zip(range(-radius, radius + 1), weights / weights.sum(), strict=True):
        matrix[np.arange(size), outside(np.arange(size) + offset, size)] += weight
    return both_ways(matrix, pictures)


def both_ways(matrix: np.ndarray, pictures: Tensor) -> Tensor:
    """What the matrix (T, S) makes of each column, and then of each row: (B, C, T, T)."""
    moved = torch.from_numpy(matrix).float().to(pictures.device)
    return moved @ pictures @ moved.T


def zoomed(pictures: Tensor, factor: float) -> Tensor:
    """The middle of the pictures, as large as the whole: linear between pixels, corner pixels on corner pixels."""
    size = pictures.shape[-1]
    part = math.ceil(size / factor)
    top = (size - part) // 2
    large = round(part * factor)
    middle = pictures[..., top : top + part, top : top + part]
    scaled = functional.interpolate(middle, (large, large), mode="bilinear", align_corners=True)
    trim = (large - size) // 2
    return scaled[..., trim : trim + size, trim : trim + size]


def in_motion(pictures: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Pictures that moved, each at its angle (B): a half Gaussian along a line of pixels, as ImageMagick has it.

    Its MotionBlurImage reads on from each pixel in that direction, beyond the edge the edge's pixel, and cuts off.
    """
    size, taps = pictures.shape[-1], 2 * radius + 1
    weights = np.exp(-0.5 * (np.arange(taps) / sigma) ** 2)
    angle = torch.deg2rad(degrees)
    at = torch.arange(size, device=pictures.device)
    flat, blurred = pictures.flatten(2), torch.zeros_like(pictures)
    for tap, weight in enumerate((weights / weights.sum()).tolist()):
        right, down = (torch.ceil(tap * part - 0.5).long() for part in (angle.cos(), angle.sin()))
        rows, columns = ((at + by[:, None]).clamp(0, size - 1) for by in (down, right))
        blurred += weight * taken(flat, rows[:, :, None] * size + columns[:, None, :]).view_as(pictures)
    return cut(blurred)


def taken(flat: Tensor, places: Tensor) -> Tensor:
    """Of flat pictures (B, C, S·S), the pixels at these places (B, …) of each: (B, C, places of a picture)."""
    index = places.flatten(1)[:, None]
    return flat.gather(2, index.expand(-1, flat.shape[1], -1))

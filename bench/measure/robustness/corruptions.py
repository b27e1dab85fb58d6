"""Fourteen of the fifteen common corruptions of Hendrycks and Dietterich (ICLR 2019), of whole batches of pictures.

    gaussian, shot, impulse noise | defocus, glass, motion, zoom blur | snow, fog, brightness, contrast |
    elastic transform, pixelate, JPEG compression

Frost is left out: it lays photographs of frost over the pictures, which bench does not have. All are computed where the
pictures are, but for JPEG, which Pillow makes on the CPU. They are held against the authors' programs, with the same
random numbers, by tests/measure/test_robustness.py; where those differ from the paper, these are what made the files.

Each is given pictures (B, 3, S, S; float32 in 0..1, eight bits a channel), one severity's strength (parameters.py) and
what is drawn, and gives pictures alike, before they are cut off to eight bits again.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.measure.robustness.draws import Draws
from bench.measure.robustness.parts import (
    cut,
    in_motion,
    mirrored,
    mirrored_within,
    nearest,
    rounded,
    smoothed,
    taken,
    zoomed,
)

Corruption = Callable[[Tensor, Any, Draws], Tensor]
# OpenCV's grey of red, green and blue.
GREY = (0.299, 0.587, 0.114)
# Less than a grey level.
SMALL = 1e-6


def gaussian_noise(pictures: Tensor, deviation: float, draws: Draws) -> Tensor:
    """Too little light."""
    return pictures + deviation * draws.normal(*pictures.shape[1:])


def shot_noise(pictures: Tensor, photons: float, draws: Draws) -> Tensor:
    """Light that comes in so many photons where it is white."""
    return draws.poisson(pictures * photons) / photons


def impulse_noise(pictures: Tensor, share: float, draws: Draws) -> Tensor:
    """Salt and pepper: that share of all channels of all pixels is 1 or 0."""
    shape = pictures.shape[1:]
    hit = draws.uniform(0, 1, *shape) <= share
    salt = draws.uniform(0, 1, *shape) <= 0.5
    return torch.where(hit, salt.to(pictures.dtype), pictures)


def defocus_blur(pictures: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
    """A lens out of focus: every point a disk."""
    kernel = torch.from_numpy(_disk(*strength)).float().to(pictures.device)
    size, side = pictures.shape[-1], kernel.shape[0] // 2
    places = torch.from_numpy(mirrored_within(np.arange(-side, size + side), size)).to(pictures.device)
    wide = pictures.index_select(2, places).index_select(3, places)
    return functional.conv2d(wide, kernel.expand(3, 1, -1, -1), groups=3)


def _disk(radius: float, sigma: float) -> np.ndarray:
    """The disk that a point becomes, its edge smoothed over one pixel, of a large one over two."""
    reach, width = (8, 1) if radius <= 8 else (int(radius), 2)
    at = np.arange(-reach, reach + 1)
    disk = (at[:, None] ** 2 + at**2 <= radius**2).astype(np.float64)
    edge = np.exp(-0.5 * (np.arange(-width, width + 1) / sigma) ** 2)
    smooth = np.apply_along_axis(
        np.convolve, 0, np.pad(disk / disk.sum(), width, "reflect"), edge / edge.sum(), "valid"
    )
    smooth = np.apply_along_axis(np.convolve, 1, smooth, edge / edge.sum(), "valid")
    empty = reach - int(np.abs(at[smooth.max(0) > 1e-12]).max())
    return smooth[empty : len(at) - empty, empty : len(at) - empty]


def glass_blur(pictures: Tensor, strength: tuple[float, int, int], draws: Draws) -> Tensor:
    """Frosted glass: smoothed, every pixel replaced by one nearby, and smoothed again."""
    sigma, reach, times = strength
    smooth = cut(smoothed(pictures, sigma, nearest, 4))
    places = _scattered(pictures.shape[-1], reach, times, draws)
    return smoothed(taken(smooth.flatten(2), places).view_as(pictures), sigma, nearest, 4)


def _scattered(size: int, reach: int, times: int, draws: Draws) -> Tensor:
    """From where each pixel is taken: (B, S·S).

    The authors' program goes through the pixels from the last to the first, and lets each be what one nearby is by
    then (it means to exchange the two, but NumPy's views make copies of one). So where that one had its turn before,
    it is what that one was given: such chains are followed to their ends, all at once.
    """
    inner = torch.arange(size - reach, reach, -1)
    pixels = (inner[:, None] * size + inner).flatten()
    moves = draws.integers(-reach, reach, times, len(pixels), 2)
    at = torch.arange(size * size, device=moves.device).expand(len(moves), -1)
    pixels = pixels.to(moves.device)
    visited = torch.zeros(size * size, dtype=torch.bool, device=moves.device)
    visited[pixels] = True
    source = at
    for move in moves.unbind(1):
        target = at.clone()
        target[:, pixels] += move[..., 1] * size + move[..., 0]
        had_its_turn = (target > at) & visited[target]
        last = torch.where(had_its_turn, target, at)
        while not torch.equal(further := last.gather(1, last), last):  # each time they are followed twice as far
            last = further
        source = source.gather(1, target.gather(1, last))
    return source


def motion_blur(pictures: Tensor, strength: tuple[int, float], draws: Draws) -> Tensor:
    """A camera that moved, about to the right."""
    return in_motion(pictures, *strength, draws.uniform(-45, 45))


def zoom_blur(pictures: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
    """A camera that moved towards what it saw."""
    factors = np.arange(1, *strength)
    return torch.stack([pictures, *(zoomed(pictures, factor) for factor in factors.tolist())]).mean(0)


def snow(pictures: Tensor, strength: tuple[float, float, float, float, int, float, float], draws: Draws) -> Tensor:
    """Flakes in motion before a picture that is whiter than it was."""
    mean, deviation, zoom, least, radius, sigma, stays = strength
    flakes = zoomed(mean + deviation * draws.normal(1, *pictures.shape[2:]), zoom)
    flakes = cut(torch.where(flakes < least, 0, flakes))
    flakes = in_motion(flakes, radius, sigma, draws.uniform(-135, -45))
    grey = (pictures * torch.tensor(GREY).to(pictures).view(3, 1, 1)).sum(1, keepdim=True)
    whiter = torch.maximum(pictures, 1.5 * grey + 0.5)
    return stays * pictures + (1 - stays) * whiter + flakes + flakes.rot90(2, (2, 3))


def fog(pictures: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
    """A cloud of fractal noise; the brightest pixel stays as bright."""
    weight, decay = strength
    size = pictures.shape[-1]
    brightest = pictures.amax((1, 2, 3), keepdim=True)
    cloud = _plasma(1 << (size - 1).bit_length(), decay, draws)[:, None, :size, :size]
    return (pictures + weight * cloud) * brightest / (brightest + weight)


def _plasma(size: int, decay: float, draws: Draws) -> Tensor:
    """Heights in 0..1 by the diamond-square algorithm on a torus: (B, size, size), size a power of two."""
    noise = draws.uniform(-1, 1, size**2 - 1)
    heights = torch.zeros(len(noise), 1, 1, device=noise.device)
    rough, drawn = 100.0, 0
    while (cells := heights.shape[-1]) < size:
        own = rough**2 * noise[:, drawn : drawn + 3 * cells**2].view(-1, 3, cells, cells)
        below, right = heights.roll(-1, 1), heights.roll(-1, 2)
        middles = (heights + below + right + below.roll(-1, 2)) / 4 + own[:, 0]
        tops = (middles + middles.roll(1, 1) + heights + right) / 4 + own[:, 1]
        lefts = (middles + middles.roll(1, 2) + heights + below) / 4 + own[:, 2]
        rows = torch.stack([heights, tops], 3), torch.stack([lefts, middles], 3)
        heights = torch.stack([row.flatten(2) for row in rows], 2).flatten(1, 2)
        rough, drawn = rough / decay, drawn + 3 * cells**2
    heights = heights - heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)


def brightness(pictures: Tensor, more: float, draws: Draws) -> Tensor:
    """The brightest channel by so much brighter, hue and saturation (of HSV) as they are."""
    value = pictures.amax(1, keepdim=True)
    brighter = (value + more).clamp(max=1)
    return torch.where(value > 0, pictures * brighter / value.clamp(min=SMALL), brighter)


def contrast(pictures: Tensor, share: float, draws: Draws) -> Tensor:
    """That share of every channel's distance to its mean."""
    means = pictures.mean((2, 3), keepdim=True)
    return (pictures - means) * share + means


def elastic_transform(pictures: Tensor, strength: tuple[float, float, float], draws: Draws) -> Tensor:
    """A small affine map, and then every pixel moved, smoothly."""
    size = pictures.shape[-1]
    far, smooth, affine = (size * part for part in strength)
    mapped = _sampled(pictures, *_affine(size, draws.uniform(-affine, affine, 3, 2)), about_the_edge=False)
    right, down = (far * smoothed(draws.uniform(-1, 1, 1, size, size), smooth, mirrored, 3)[:, 0] for _ in range(2))
    at = torch.arange(size, device=pictures.device, dtype=pictures.dtype)
    return _sampled(mapped, at + right, at[:, None] + down, about_the_edge=True)


def _affine(size: int, moves: Tensor) -> tuple[Tensor, Tensor]:
    """From where each pixel is taken, columns and rows (B, S, S), where three points move by `moves` (B, 3, 2)."""
    middle, third = size // 2, size // 3
    high, low = middle + third, middle - third
    before = torch.tensor([[high, high], [high, low], [low, low]], dtype=torch.float64)
    after = before + moves.cpu().double()
    ones = torch.ones(*after.shape[:2], 1, dtype=torch.float64)
    solved = torch.linalg.solve(torch.cat([after, ones], 2), before.expand_as(after))
    matrix = solved.float().to(moves.device)
    at = torch.arange(size, device=moves.device, dtype=moves.dtype)
    columns, rows = (
        matrix[:, 0, place, None, None] * at + matrix[:, 1, place, None, None] * at[:, None]
        + matrix[:, 2, place, None, None]
        for place in (0, 1)
    )  # fmt: skip
    return columns, rows


def _sampled(pictures: Tensor, columns: Tensor, rows: Tensor, *, about_the_edge: bool) -> Tensor:
    """Pictures at these places (B, S, S), linear between pixels; beyond the edge mirrored, about it or its pixel."""
    size = pictures.shape[-1]
    scaled = [(2 * at + 1) / size - 1 if about_the_edge else 2 * at / (size - 1) - 1 for at in (columns, rows)]
    return functional.grid_sample(
        pictures, torch.stack(scaled, -1), padding_mode="reflection", align_corners=not about_the_edge
    )


def pixelate(pictures: Tensor, share: float, draws: Draws) -> Tensor:
    """Smaller by that share, and as large as before, in blocks: Pillow's box filter, which rounds after each step."""
    size = pictures.shape[-1]
    for shorter in (int(size * share), size):
        matrix = torch.from_numpy(_boxes(shorter, pictures.shape[-1])).float().to(pictures.device)
        pictures = rounded(matrix @ rounded(pictures @ matrix.T))
    return pictures


def _boxes(large: int, size: int) -> np.ndarray:
    """The matrix (large, size) that takes for each new pixel the mean of those whose middle it covers, at least one."""
    scale = size / large
    middles = (np.arange(large) + 0.5) * scale
    reach = 0.5 * max(scale, 1)
    distance = np.arange(size) + 0.5 - middles[:, None]
    inside = ((distance > -reach) & (distance <= reach)).astype(np.float64)
    inside /= inside.sum(1, keepdims=True)
    return inside


def jpeg_compression(pictures: Tensor, quality: int, draws: Draws) -> Tensor:
    """Saved by Pillow in that quality, and read again; on the CPU."""
    levels = pictures.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    read = torch.from_numpy(np.stack([_saved(one, quality) for one in levels]))
    return read.permute(0, 3, 1, 2).to(pictures.device).float() / 255


def _saved(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


CORRUPTIONS: dict[str, Corruption] = {
    one.__name__: one
    for one in (
        gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur, snow, fog,
        brightness, contrast, elastic_transform, pixelate, jpeg_compression,
    )
}  # fmt: skip

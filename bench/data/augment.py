"""What is done to a batch of training pictures beyond flips and shifts: drawn on the CPU, done on whole batches.

Each function is pure: pictures, and what was drawn for them, to pictures. Sizes are shares of a side, so that a draw
means the same for every model and image size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.data import randaugment
from bench.data.randaugment import Choices, Rounds
from bench.device import Device
from bench.protocol import Augmentation

# Of a random resized crop, and of an erased box: height over width (torchvision's defaults, and timm's).
CROP_ASPECT = (3 / 4, 4 / 3)
ERASED_ASPECT = (0.3, 1 / 0.3)
# Of the picture, how much is erased (Zhong et al., 2020).
ERASED_AREA = (0.02, 1 / 3)


@dataclass(frozen=True)
class Draws:
    """What is drawn for batches of pictures, each (steps, B, …) or (steps, …); None where that is off.

    `crop`: top, left, height and width as shares of the picture's sides (4); `jitter`: factors of brightness, contrast
    and saturation (3); `erased`: as crop, of height nought where nothing is; `rand`: RandAugment's.
    """

    crop: Tensor | None = None
    jitter: Tensor | None = None
    erased: Tensor | None = None
    rand: Choices | None = None

    def of(self, rows: Tensor, pictures: Tensor) -> Draws:
        """Those of other batches (steps, B), of which each picture has the draws of that row and place."""

        def taken(part: Tensor | None) -> Tensor | None:
            return None if part is None else part[rows, pictures]

        rand = None if self.rand is None else self.rand.of(rows, pictures)
        return Draws(taken(self.crop), taken(self.jitter), taken(self.erased), rand)

    def on(self, device: Device, mix: Tensor | None = None) -> Variations:
        """Made ready on the device, with what is drawn for whole batches."""

        def moved(part: Tensor | None) -> Tensor | None:
            return None if part is None else device.move(part)

        rand = None if self.rand is None else self.rand.on(device)
        return Variations(moved(self.crop), moved(self.jitter), moved(self.erased), rand, moved(mix))


@dataclass(frozen=True)
class Variations:
    """What becomes of the batches of an epoch, on the device: as Draws, and `mix`: for each batch the share λ of a
    picture in its mixture, and the box, as `crop`, that is the other's (5); of height nought where they are blended.
    """

    crop: Tensor | None = None
    jitter: Tensor | None = None
    erased: Tensor | None = None
    rand: Rounds | None = None
    mix: Tensor | None = None


def draw(steps: int, count: int, augmentation: Augmentation, seed: int) -> Draws:
    """What the augmentation draws for so many batches of `count` pictures, whatever else an epoch draws."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    crop = jitter = erased = rand = None
    if augmentation.resized_crop:
        area = uniform(steps, count, low=augmentation.resized_crop)
        crop = _boxes(area, _log_uniform(uniform(steps, count), CROP_ASPECT), uniform(2, steps, count))
    if augmentation.color_jitter:
        reach = augmentation.color_jitter
        jitter = uniform(steps, count, 3, low=1 - reach, high=1 + reach)
    if augmentation.erase:
        area = uniform(steps, count, low=ERASED_AREA[0], high=ERASED_AREA[1])
        erased = _boxes(area, _log_uniform(uniform(steps, count), ERASED_ASPECT), uniform(2, steps, count))
        erased = torch.where((uniform(steps, count) < augmentation.erase)[..., None], erased, 0.0)
    if augmentation.rand_augment:
        rand = randaugment.draw(steps, count, augmentation.rand_augment, augmentation.magnitude, generator)
    return Draws(crop, jitter, erased, rand)


def draw_mixtures(steps: int, augmentation: Augmentation, seed: int) -> Tensor | None:
    """The mixtures of so many batches (steps, 5; see Variations); None where nothing is mixed."""
    if not augmentation.mixes:
        return None
    numbers = np.random.default_rng(seed)  # torch draws no beta variate from a generator of one's own
    return torch.tensor([_mixture(augmentation, numbers) for _ in range(steps)], dtype=torch.float32)


def _log_uniform(uniform: Tensor, ends: tuple[float, float]) -> Tensor:
    low, high = math.log(ends[0]), math.log(ends[1])
    return torch.exp(low + (high - low) * uniform)


def _boxes(area: Tensor, aspect: Tensor, place: Tensor) -> Tensor:
    """Boxes (…, 4) of these areas and aspects, cut to fit, where `place` (2, …; 0..1) puts them."""
    height = (area * aspect).sqrt().clamp(max=1)
    width = (area / aspect).sqrt().clamp(max=1)
    return torch.stack([place[0] * (1 - height), place[1] * (1 - width), height, width], -1)


def _mixture(augmentation: Augmentation, numbers: np.random.Generator) -> list[float]:
    """λ and the box of one batch; of mixup and CutMix, where both are on, one or the other by chance."""
    both = augmentation.mixup and augmentation.cutmix
    cuts = bool(augmentation.cutmix) and (not both or numbers.random() < 0.5)
    alpha = augmentation.cutmix if cuts else augmentation.mixup
    share = numbers.beta(alpha, alpha)
    if not cuts:
        return [share, 0.0, 0.0, 0.0, 0.0]
    side, middle = math.sqrt(1 - share), numbers.random(2)
    low, high = (middle - side / 2).clip(min=0), (middle + side / 2).clip(max=1)
    return [share, *low, *(high - low)]


def resized_crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Images (B, 3, H, W; float) to (B, 3, size, size): of each its box (B, 4), bilinearly, in one call."""
    top, left, height, width = boxes.unbind(-1)
    nought = torch.zeros_like(top)
    # From output to input, both in -1..1.
    across = torch.stack([width, nought, 2 * left + width - 1], -1)
    down = torch.stack([nought, height, 2 * top + height - 1], -1)
    grid = functional.affine_grid(torch.stack([across, down], 1), [len(images), 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def jittered(images: Tensor, factors: Tensor) -> Tensor:
    """Images (B, 3, H, W) of 0..255, by factors (B, 3) of brightness, then contrast, then saturation."""
    brightness, contrast, saturation = factors[..., None, None, None].unbind(1)
    images = (images * brightness).clamp(0, 255)
    images = randaugment.contrast(images, contrast).clamp(0, 255)
    return randaugment.saturation(images, saturation).clamp(0, 255)


def erased(images: Tensor, boxes: Tensor) -> Tensor:
    """Normalised images (B, 3, S, S), within each box (B, 4) nought: the mean of the pictures."""
    return images.masked_fill(_within(boxes, images)[:, None], 0.0)


def mixed(images: Tensor, targets: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) and targets (B, classes), each mixed with those of its neighbour in the batch.

    Blended by λ (mixup, Zhang et al., 2018), or with the neighbour's pixels in the box, λ being what is left of the
    picture (CutMix, Yun et al., 2019).
    """
    share, box = mix[0], mix[1:]
    others, other_targets = images.roll(1, 0), targets.roll(1, 0)
    within = _within(box[None], images)  # (1, S, S)
    cuts = box[2] > 0
    share = torch.where(cuts, 1 - within.float().mean(), share)
    blended = torch.where(cuts, images, share * images + (1 - share) * others)
    images = torch.where(within[:, None], others, blended)
    return images, share * targets + (1 - share) * other_targets


def _within(boxes: Tensor, images: Tensor) -> Tensor:
    """Which pixels lie in each box: (B, H, W)."""
    height, width = images.shape[2:]
    top, left, high, wide = boxes[:, None, :].unbind(-1)
    rows = (torch.arange(height, device=images.device) + 0.5) / height
    columns = (torch.arange(width, device=images.device) + 0.5) / width
    down, across = (rows >= top) & (rows < top + high), (columns >= left) & (columns < left + wide)
    return down[:, :, None] & across[:, None, :]

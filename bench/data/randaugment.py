"""RandAugment (Cubuk et al., 2020) on whole batches: each picture its own operations, all of one magnitude.

The fourteen operations and their ranges are torchvision's (`transforms.v2.RandAugment`, 31 bins). Drawn on the CPU for
a whole epoch, with the pictures of a batch sorted by what is done to them, so that nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bench.device import Device

MOST = 30  # the largest magnitude
GREY = 128.0  # what lies outside of a picture
# What is alike is done at once: the operations of each kind, in the order in which a batch is sorted.
KINDS = (
    ("identity",),
    ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    ("brightness",),
    ("contrast",),
    ("saturation",),
    ("sharpness",),
    ("posterize",),
    ("solarize",),
    ("autocontrast",),
    ("equalize",),
)
OPERATIONS = [(kind, name) for kind, names in enumerate(KINDS) for name in names]


@dataclass(frozen=True)
class Rounds:
    """For each operation that a picture undergoes (a round): the order that sorts the batch by kind (steps, rounds, B),
    how many of each kind there are, and in that order a matrix (steps, rounds, B, 2, 3) and a factor (steps, rounds, B)
    for each picture.
    """

    magnitude: int
    order: Tensor
    counts: list[list[list[int]]]
    matrices: Tensor
    factors: Tensor

    def apply(self, step: int, pictures: Tensor) -> Tensor:
        """The batch of that step: pictures (B, 3, H, W; uint8) after all their operations."""
        for number, counts in enumerate(self.counts[step]):
            order = self.order[step, number]
            sorted_by_kind = pictures.index_select(0, order)
            parts, start = [], 0
            for kind, count in enumerate(counts):
                own = slice(start, start + count)
                start += count
                if count:
                    matrices, factors = self.matrices[step, number, own], self.factors[step, number, own]
                    parts.append(_done(kind, sorted_by_kind[own], matrices, factors, self.magnitude))
            pictures = torch.empty_like(pictures).index_copy_(0, order, torch.cat(parts))
        return pictures


@dataclass(frozen=True)
class Choices:
    """Which of OPERATIONS each picture undergoes in each round, and in which direction, 1 or -1: (steps, rounds, B)."""

    magnitude: int
    operation: Tensor
    sign: Tensor

    def of(self, rows: Tensor, pictures: Tensor) -> Choices:
        """Those of other batches (steps, B), of which each picture has the choices of that row and place."""
        operation, sign = (part[rows, :, pictures].movedim(-1, 1) for part in (self.operation, self.sign))
        return Choices(self.magnitude, operation, sign)

    def on(self, device: Device) -> Rounds:
        """Made ready on the device, moved at once."""
        kind = torch.tensor([kind for kind, _ in OPERATIONS])[self.operation]
        order = kind.sort(dim=-1, stable=True).indices
        counts = functional.one_hot(kind, len(KINDS)).sum(2).tolist()
        share = self.magnitude / MOST
        moves = torch.stack([matrix(name, share) for _, name in OPERATIONS])
        back = torch.stack([matrix(name, -share) for _, name in OPERATIONS])
        operation, sign = self.operation.gather(2, order), self.sign.gather(2, order)
        matrices = torch.where(sign[..., None, None] > 0, moves[operation], back[operation])
        order, matrices, factors = map(device.move, (order, matrices, 1 + 0.9 * share * sign))
        return Rounds(self.magnitude, order, counts, matrices, factors)


def draw(steps: int, count: int, operations: int, magnitude: int, generator: torch.Generator) -> Choices:
    """What is drawn for so many batches of `count` pictures, each of which undergoes so many operations."""
    shape = (steps, operations, count)
    chosen = torch.randint(0, len(OPERATIONS), shape, generator=generator)
    return Choices(magnitude, chosen, 1.0 - 2.0 * torch.randint(0, 2, shape, generator=generator))


def matrix(name: str, share: float) -> Tensor:
    """Where each place of the changed picture comes from (2, 3), in coordinates of -1..1; others move nothing."""
    one = torch.eye(2, 3)
    match name:
        case "shear_x":
            one[0, 1] = 0.3 * share
        case "shear_y":
            one[1, 0] = 0.3 * share
        case "translate_x":
            one[0, 2] = 2 * 150 / 331 * share
        case "translate_y":
            one[1, 2] = 2 * 150 / 331 * share
        case "rotate":
            angle = math.radians(30 * share)
            one[:, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return one


def _done(kind: int, pictures: Tensor, matrices: Tensor, factors: Tensor, magnitude: int) -> Tensor:
    from torchvision.transforms.v2 import functional as operators

    name = KINDS[kind][0]
    if name == "identity":
        return pictures
    if name in ("posterize", "solarize", "autocontrast", "equalize"):
        own: dict[str, list[float]] = {
            "posterize": [8 - round(magnitude / (MOST / 4))],
            "solarize": [255 - 255 * magnitude / MOST],
        }
        changed: Tensor = getattr(operators, name)(pictures, *own.get(name, []))
    else:
        floats = pictures.float()
        changed = moved(floats, matrices) if name == "shear_x" else BLENDS[name](floats, factors.view(-1, 1, 1, 1))
        changed = changed.round_().clamp_(0, 255).to(torch.uint8)
    return changed


def moved(images: Tensor, matrices: Tensor) -> Tensor:
    """Images (B, 3, H, W) of 0..255, each by its matrix (B, 2, 3), bilinearly; grey from outside."""
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images - GREY, grid, align_corners=False) + GREY


def grey(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of images (B, 3, H, W)."""
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None]


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Images of 0..255 nearer to their mean grey, or further from it, by factors that broadcast."""
    return factors * images + (1 - factors) * grey(images).mean((2, 3), keepdim=True)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Images nearer to their grey, or further from it."""
    return factors * images + (1 - factors) * grey(images)


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Images nearer to what a small blur makes of them, or further from it; the border stays."""
    kernel = torch.ones(3, 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = 5
    blurred = images.clone()
    blurred[:, :, 1:-1, 1:-1] = functional.conv2d(images, kernel / 13, groups=3)
    return factors * images + (1 - factors) * blurred


BLENDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": lambda images, factors: factors * images,
    "contrast": contrast,
    "saturation": saturation,
    "sharpness": sharpness,
}

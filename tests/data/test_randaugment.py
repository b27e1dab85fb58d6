"""RandAugment on whole batches: each operation is torchvision's, each picture undergoes its own."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import bench.models  # noqa: F401 — so that torchvision can be imported where its own operators do not load
from bench.data.randaugment import KINDS, MOST, OPERATIONS, Rounds, draw, matrix
from bench.device import Device

NAMES = [name for _, name in OPERATIONS]


def alone(name: str, pictures: Tensor, magnitude: int, sign: float = 1.0) -> Tensor:
    """That operation on all the pictures."""
    count = len(pictures)
    counts = [count if name in names else 0 for names in KINDS]
    matrices = matrix(name, sign * magnitude / MOST).expand(1, 1, count, 2, 3)
    factors = torch.full((1, 1, count), 1 + 0.9 * sign * magnitude / MOST)
    return Rounds(magnitude, torch.arange(count)[None, None], [[counts]], matrices, factors).apply(0, pictures)


def by_torchvision(name: str, pictures: Tensor, magnitude: int, sign: float) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as operators

    share, side = sign * magnitude / MOST, pictures.shape[-1]
    shear, shift = [0.0, 0.0], [0, 0]
    angle = 0.0
    match name:
        case "identity":
            return pictures
        case "brightness" | "contrast" | "saturation" | "sharpness":
            return getattr(operators, f"adjust_{name}")(pictures, 1 + 0.9 * share)
        case "posterize":
            return operators.posterize(pictures, 8 - round(magnitude / (MOST / 4)))
        case "solarize":
            return operators.solarize(pictures, 255 - 255 * magnitude / MOST)
        case "autocontrast" | "equalize":
            return getattr(operators, name)(pictures)
        case "shear_x":
            shear[0] = math.degrees(math.atan(0.3 * share))
        case "shear_y":
            shear[1] = math.degrees(math.atan(0.3 * share))
        case "translate_x":
            shift[0] = -150 / 331 * side * share
        case "translate_y":
            shift[1] = -150 / 331 * side * share
        case "rotate":
            angle = -30 * share
    return operators.affine(
        pictures, angle=angle, translate=shift, scale=1.0, shear=shear, interpolation=InterpolationMode.BILINEAR,
        fill=128,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("magnitude", "sign"), [(9, 1.0), (15, -1.0), (30, 1.0)])
def test_each_operation_does_what_torchvision_s_does(name: str, magnitude: int, sign: float) -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(255 * torch.rand(6, 3, 5, 5), (33, 33), mode="bicubic").clamp(0, 255)
    pictures = smooth.round().to(torch.uint8)
    found = alone(name, pictures, magnitude, sign).int()
    expected = by_torchvision(name, pictures, magnitude, sign).int()
    # Torchvision blends the picture's edge with what lies outside in another way: what is not near it has to agree.
    white = alone(name, torch.full_like(pictures, 255), magnitude, sign) if name in KINDS[1] else pictures | 255
    outside = torch.nn.functional.max_pool2d((white != 255).float(), 3, 1, 1) > 0
    assert float(outside.float().mean()) < 0.6
    assert int(((found - expected).abs() * ~outside).max()) <= 2  # rounding


@given(st.integers(0, 99), st.integers(1, 3))
def test_each_picture_undergoes_what_was_drawn_for_it_and_no_other_s(seed: int, operations: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    drawn = draw(2, 9, operations, 10, generator).on(Device("cpu"))
    pictures = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8)
    whole = drawn.apply(1, pictures)
    for number in range(9):
        others = pictures.clone()
        others[[other for other in range(9) if other != number]] = 0
        assert torch.equal(drawn.apply(1, others)[number], whole[number])


def test_all_operations_are_as_likely() -> None:
    drawn = draw(100, 140, 1, 9, torch.Generator().manual_seed(0)).on(Device("cpu"))
    totals: Counter[int] = Counter()
    for step in drawn.counts:
        totals.update(dict(enumerate(step[0])))
    for kind, names in enumerate(KINDS):
        assert totals[kind] / 14_000 == pytest.approx(len(names) / len(OPERATIONS), abs=0.01)


def test_a_magnitude_of_nought_leaves_all_but_what_has_none() -> None:
    pictures = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    for name in NAMES:
        if name not in ("autocontrast", "equalize", "solarize"):
            assert torch.equal(alone(name, pictures, 0), pictures), name

"""Crops, jitter, erasing and mixing: drawn from seed and epoch alone, and exactly what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from bench import RequestError
from bench.data import augment
from bench.data.augment import draw, draw_mixtures, erased, jittered, mixed, resized_crop
from bench.data.cache import Stored
from bench.plugins import Registry
from bench.protocol import Augmentation, Protocol
from bench.run.prepare import prepare
from bench.train.loop import Progress, fit, make_trainer

EVERYTHING = Augmentation(flip=True, resized_crop=0.3, color_jitter=0.4, erase=0.5, mixup=0.8, cutmix=1.0)
shares = st.floats(0.05, 0.95)


@given(shares, shares, st.integers(0, 99))
def test_boxes_lie_in_the_picture_and_have_the_area_they_say(least: float, chance: float, seed: int) -> None:
    drawn = draw(4, 50, Augmentation(resized_crop=least, erase=chance), seed)
    for boxes in (drawn.crop, drawn.erased):
        assert boxes is not None and boxes.shape == (4, 50, 4)
        top, left, height, width = boxes.unbind(-1)
        assert boxes.min() >= 0 and (top + height).max() <= 1 + 1e-6 and (left + width).max() <= 1 + 1e-6
    assert drawn.crop is not None and drawn.erased is not None
    area, aspect = drawn.crop[..., 2] * drawn.crop[..., 3], drawn.crop[..., 2] / drawn.crop[..., 3]
    assert area.max() <= 1 + 1e-6 and area.min() >= least * 3 / 4 - 1e-6  # what does not fit is cut
    assert aspect.min() >= 0.5 and aspect.max() <= 2
    area = drawn.erased[..., 2] * drawn.erased[..., 3]
    assert ((area == 0) | (area >= 0.02 - 1e-6)).all() and area.max() <= 1 / 3 + 1e-6


def test_erasing_happens_as_often_as_it_says() -> None:
    drawn = draw(100, 100, Augmentation(erase=0.3), 0).erased
    assert drawn is not None
    assert float((drawn[..., 2] > 0).float().mean()) == pytest.approx(0.3, abs=0.02)


def test_a_crop_of_everything_is_the_picture_and_of_whole_pixels_these_pixels() -> None:
    images = torch.rand(3, 3, 8, 8)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(3, 4)
    torch.testing.assert_close(resized_crop(images, whole, 8), images)
    quarter = torch.tensor([[0.25, 0.5, 0.5, 0.5]]).expand(3, 4)
    torch.testing.assert_close(resized_crop(images, quarter, 4), images[:, :, 2:6, 4:8])


def test_jitter_by_one_changes_nothing_and_without_saturation_all_is_grey() -> None:
    images = 255 * torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(jittered(images, torch.ones(2, 3)), images)
    dark = jittered(images, torch.tensor([[0.5, 1.0, 1.0]] * 2))
    torch.testing.assert_close(dark, images / 2)
    grey = jittered(images, torch.tensor([[1.0, 1.0, 0.0]] * 2))
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    flat = jittered(images, torch.tensor([[1.0, 0.0, 1.0]] * 2))
    assert float(flat.std((2, 3)).max()) < 1e-3
    assert jittered(images, torch.tensor([[1.9, 1.9, 1.9]] * 2)).max() <= 255


def test_what_is_erased_is_nought_and_the_rest_as_it_was() -> None:
    images = 1 + torch.rand(2, 3, 8, 8)
    boxes = torch.tensor([[0.25, 0.5, 0.5, 0.25], [0.0, 0.0, 0.0, 0.0]])
    found = erased(images, boxes)
    assert not found[0, :, 2:6, 4:6].any()
    assert int((found == 0).sum()) == 3 * 4 * 2
    assert torch.equal(found[1], images[1])


@given(st.floats(0.01, 0.99))
def test_a_blend_is_the_share_of_each_and_so_are_the_targets(share: float) -> None:
    images, targets = torch.rand(4, 3, 6, 6), functional.one_hot(torch.arange(4), 5).float()
    found, now = mixed(images, targets, torch.tensor([share, 0, 0, 0, 0]))
    torch.testing.assert_close(found, share * images + (1 - share) * images.roll(1, 0))
    torch.testing.assert_close(now, share * targets + (1 - share) * targets.roll(1, 0))
    torch.testing.assert_close(now.sum(1), torch.ones(4))


def test_a_pasted_box_is_the_neighbour_s_and_weighs_as_much_as_it_covers() -> None:
    images, targets = torch.rand(4, 3, 8, 8), functional.one_hot(torch.arange(4), 5).float()
    found, now = mixed(images, targets, torch.tensor([0.7, 0.5, 0.25, 0.5, 0.5]))
    assert torch.equal(found[:, :, 4:8, 2:6], images.roll(1, 0)[:, :, 4:8, 2:6])
    assert torch.equal(found[:, :, :4], images[:, :, :4])
    torch.testing.assert_close(now, 0.75 * targets + 0.25 * targets.roll(1, 0))


def test_of_mixup_and_cutmix_each_is_chosen_half_of_the_time() -> None:
    drawn = draw_mixtures(2000, Augmentation(mixup=0.8, cutmix=1.0), 0)
    assert drawn is not None
    assert float((drawn[:, 3] > 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    only = draw_mixtures(500, Augmentation(mixup=0.2), 0)
    assert only is not None and not only[:, 1:].any()
    # Beta(0.2, 0.2): mostly near one or the other, half of it on each side.
    assert float(((only[:, 0] < 0.1) | (only[:, 0] > 0.9)).float().mean()) > 0.5
    assert float((only[:, 0] < 0.5).float().mean()) == pytest.approx(0.5, abs=0.08)


Made = Callable[..., Protocol]
SETTINGS = (
    "augmentation.flip=true", "augmentation.resized_crop=0.3", "augmentation.color_jitter=0.4",
    "augmentation.erase=0.5", "augmentation.mixup=0.8", "augmentation.cutmix=1.0", "augmentation.rand_augment=2",
)  # fmt: skip


def test_every_model_is_shown_the_same_and_what_is_further_drawn_moves_no_order_and_no_flip(
    registry: Registry, digits: Stored, tiny_protocol: Made
) -> None:
    protocol, plain = tiny_protocol(*SETTINGS), tiny_protocol(SETTINGS[0])
    shown = []
    for model in ("tiny", "tiny:width=4"):
        batches = prepare(registry.model(model), protocol, digits, 0, "cpu").batches["train"]
        shown.append(list(batches.shuffled(3, 1, protocol.augmentation)))
        one, other = (batches.drawn(3, 1, each.augmentation) for each in (protocol, plain))
        assert torch.equal(one.chosen, other.chosen)
        assert one.flipped is not None and other.flipped is not None and torch.equal(one.flipped, other.flipped)
    for (images, targets), (others, other_targets) in zip(*shown, strict=True):
        assert torch.equal(images, others) and torch.equal(targets, other_targets)
        assert targets.shape == (len(images), 10) and images.is_contiguous(memory_format=torch.channels_last)
    later = next(iter(batches.shuffled(3, 2, protocol.augmentation)))[0]
    assert not torch.equal(later, shown[1][0][0])


def test_a_training_with_all_of_it_goes_on_as_if_it_had_not_been_interrupted(
    registry: Registry, digits: Stored, tiny_protocol: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.train.checkpoint.CHEAP", float("inf"))  # however long a busy machine takes

    class Interrupted(Exception):  # noqa: N818
        pass

    def fitted(file: str, stop: int = 0) -> Progress:
        protocol = tiny_protocol(*SETTINGS, "loss.label_smoothing=0.1", "loss.class_weights=balanced")
        made = prepare(registry.model("tiny"), protocol, digits, 0, "cpu")
        trainer = make_trainer(made.model, protocol, made.batches["train"].steps, "fp32", made.device)

        def ended(progress: Progress) -> None:
            if progress.epochs == stop:
                raise Interrupted

        return fit(trainer, made.batches["train"], made.batches["val"], protocol, 0, tmp_path / file, ended)

    whole = fitted("whole.pt")
    with pytest.raises(Interrupted):
        fitted("cut.pt", stop=2)
    resumed = fitted("cut.pt")
    assert (resumed.train_loss, resumed.val_loss, resumed.train_top1) == (
        whole.train_loss, whole.val_loss, whole.train_top1,
    )  # fmt: skip


def test_a_shift_and_a_resized_crop_are_not_both(tiny_protocol: Made) -> None:
    with pytest.raises(RequestError, match="choose one of them"):
        tiny_protocol("augmentation.crop=0.1", "augmentation.resized_crop=0.3")


def test_nothing_is_drawn_where_nothing_is_on() -> None:
    assert draw(3, 4, Augmentation(flip=True, crop=0.1), 0) == augment.Draws()

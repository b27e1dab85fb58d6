"""Every model sees the same pictures in the same order with the same changes for the same seed."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.data.batches import Batches, Preparation, augmented, draw, epoch_seed, positions
from bench.data.cache import Stored
from bench.data.rows import AHEAD, FileRows, read_ahead
from bench.data.splits import Subset
from bench.device import Device
from bench.errors import RequestError
from bench.protocol import Augmentation

PLAIN = Preparation(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CPU = Device("cpu")

augmentations = st.builds(Augmentation, flip=st.booleans(), crop=st.floats(0, 0.49))
sizes = st.tuples(st.integers(2, 40), st.integers(2, 40))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A hundred pictures of 16 × 16, each of 4 × 4 coloured squares."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    squares = generator.integers(0, 256, (100, 4, 4, 3), np.uint8)
    np.save(folder / "train_images.npy", squares.repeat(4, 1).repeat(4, 2))
    np.save(folder / "train_labels.npy", generator.integers(0, 10, 100))
    return Stored(str(folder), "squares", "", (), {"train": 100})


def batches(stored: Stored, count: int = 100, batch: int = 32, preparation: Preparation = PLAIN) -> Batches:
    return Batches(stored, Subset("train", np.arange(count)), preparation, batch, CPU)


def of_size(size: int) -> Preparation:
    return Preparation(size, PLAIN.mean, PLAIN.std)


def seen(made: Batches, seed: int, epoch: int, augmentation: Augmentation) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*made.shuffled(seed, epoch, augmentation), strict=True)
    return torch.cat(images), torch.cat(labels)


def placed(count: int, size: tuple[int, int], augmentation: Augmentation, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows (count, H) and columns (count, W) of one batch of augmented pictures, those that stay too."""
    drawn = draw(count, count, size, seed, augmentation)
    flipped = None if drawn.flipped is None else drawn.flipped[0]
    shifts = None if drawn.shifts is None else drawn.shifts[:, 0]
    found = positions(size, flipped, shifts)
    rows, columns = (
        torch.arange(side).expand(count, side) if one is None else one for one, side in zip(found, size, strict=True)
    )
    return rows, columns


@given(st.integers(1, 5), sizes, augmentations, st.integers(0, 99))
def test_every_augmented_pixel_comes_from_within_the_picture(
    count: int, size: tuple[int, int], augmentation: Augmentation, seed: int
) -> None:
    rows, columns = placed(count, size, augmentation, seed)
    assert (rows.shape, columns.shape) == ((count, size[0]), (count, size[1]))
    assert 0 <= rows.min() <= rows.max() < size[0]
    assert 0 <= columns.min() <= columns.max() < size[1]


@given(st.integers(1, 5), sizes, st.integers(0, 99))
def test_augmentation_that_is_off_draws_and_moves_nothing(count: int, size: tuple[int, int], seed: int) -> None:
    drawn = draw(count, count, size, seed, Augmentation())
    assert drawn.flipped is drawn.shifts is None
    assert positions(size, None, None) == (None, None)


@given(sizes, st.integers(0, 99))
def test_a_flip_mirrors_left_and_right_and_twice_is_no_change(size: tuple[int, int], seed: int) -> None:
    rows, columns = placed(20, size, Augmentation(flip=True), seed)
    assert (rows == torch.arange(size[0])).all()
    upright, mirrored = torch.arange(size[1]), torch.arange(size[1]).flip(0)
    assert all(torch.equal(row, upright) or torch.equal(row, mirrored) for row in columns)
    assert (columns.gather(1, columns) == upright).all()


def test_about_half_of_the_pictures_are_flipped() -> None:
    _, columns = placed(10_000, (4, 4), Augmentation(flip=True))
    assert 4_800 < (columns[:, 0] == 3).sum() < 5_200


@given(sizes, st.floats(0.01, 0.49), st.integers(0, 99))
def test_a_crop_shifts_by_at_most_its_share_and_mirrors_the_border(
    size: tuple[int, int], crop: float, seed: int
) -> None:
    reach = max(1, round(crop * min(size)))
    both = placed(20, size, Augmentation(crop=crop), seed)
    for found, side in zip(both, size, strict=True):
        padded = np.pad(np.arange(side), reach, mode="reflect")
        windows = {tuple(padded[start : start + side]) for start in range(2 * reach + 1)}
        assert {tuple(row) for row in found.tolist()} <= windows


def test_a_crop_shifts_both_ways_and_each_picture_by_itself() -> None:
    rows, columns = placed(500, (8, 8), Augmentation(crop=0.125))
    shifts = {(row[4] - 4, column[4] - 4) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}
    assert shifts == {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}


@given(sizes, st.floats(0.01, 0.49), st.integers(0, 99))
def test_which_pictures_are_flipped_does_not_depend_on_the_crop(size: tuple[int, int], crop: float, seed: int) -> None:
    _, without = placed(20, size, Augmentation(flip=True), seed)
    _, crop_only = placed(20, size, Augmentation(crop=crop), seed)
    _, both = placed(20, size, Augmentation(flip=True, crop=crop), seed)
    flipped = without[:, 0] == size[1] - 1
    assert torch.equal(both, torch.where(flipped[:, None], size[1] - 1 - crop_only, crop_only))


@given(st.integers(1, 40), st.integers(1, 20), sizes, augmentations, st.integers(0, 99))
def test_an_epoch_draws_from_its_generator_in_the_order_of_its_batches(
    pictures: int, batch: int, size: tuple[int, int], augmentation: Augmentation, seed: int
) -> None:
    drawn = draw(pictures, batch, size, seed, augmentation)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(pictures, generator=generator)
    reach = max(1, round(augmentation.crop * min(size)))
    for step in range(max(1, pictures // batch)):
        own = order[step * batch : (step + 1) * batch]
        assert torch.equal(drawn.chosen[step], own)
        if augmentation == Augmentation():
            continue
        flipped = torch.rand(len(own), generator=generator) < 0.5
        if augmentation.flip:
            assert drawn.flipped is not None and torch.equal(drawn.flipped[step] == 1, flipped)
        if augmentation.crop:
            shifts = torch.randint(-reach, reach + 1, (2, len(own)), generator=generator)
            assert drawn.shifts is not None and torch.equal(drawn.shifts[:, step], shifts)


@given(
    augmentation=augmentations,
    seed=st.integers(0, 99),
    indices=st.lists(st.integers(0, 99), min_size=1, max_size=90, unique=True),
)
def test_pictures_on_the_disk_make_the_same_batches_to_the_bit(
    augmentation: Augmentation, seed: int, indices: list[int], pictures: Stored
) -> None:
    subset = Subset("train", np.array(indices))
    here, there = (Batches(pictures, subset, of_size(12), 16, CPU, in_memory=where) for where in (True, False))
    assert (here.kept_in, there.kept_in) == ("memory", "file")
    for one, other in (
        (here.shuffled(seed, 1, augmentation), there.shuffled(seed, 1, augmentation)),
        (here.in_order(), there.in_order()),
        (here.in_order(flipped=True), there.in_order(flipped=True)),
    ):
        for (images, labels), (read, theirs) in zip(one, other, strict=True):
            assert torch.equal(images, read) and torch.equal(labels, theirs)


@given(rows=st.lists(st.integers(0, 99), max_size=60))
def test_any_rows_are_read_from_the_disk_in_the_order_asked_for(rows: list[int], pictures: Stored) -> None:
    read = pictures.rows("train", np.array(rows, dtype=np.int64)).read()
    np.testing.assert_array_equal(read, pictures.images("train")[rows])


def test_batches_are_read_a_few_ahead_and_no_more_and_what_nobody_wants_is_not_read() -> None:
    asked: list[int] = []

    def read(batch: np.ndarray) -> int:
        asked.append(int(batch[0]))
        return int(batch[0])

    batches = read_ahead(read, np.arange(100)[:, None])
    assert next(batches) == 0
    time.sleep(0.1)
    assert len(asked) == AHEAD + 1
    assert list(itertools.islice(batches, 3)) == [1, 2, 3]
    batches.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(asked) <= 4 + AHEAD + 1


def test_pictures_that_end_too_early_are_a_line(pictures: Stored, tmp_path: Path) -> None:
    cut = tmp_path / "train_images.npy"
    cut.write_bytes((Path(pictures.folder) / "train_images.npy").read_bytes()[:-1])
    with pytest.raises(RequestError, match="ends too early"):
        FileRows.of(cut, np.arange(100)).read()


@given(augmentations, st.integers(0, 99))
def test_pictures_gathered_before_they_are_moved_are_the_same(augmentation: Augmentation, seed: int) -> None:
    pictures = torch.randint(0, 256, (30, 6, 9, 3), dtype=torch.uint8)
    drawn = draw(30, 7, (6, 9), seed, augmentation)
    for step, chosen in enumerate(drawn.chosen):
        flipped = None if drawn.flipped is None else drawn.flipped[step]
        shifts = None if drawn.shifts is None else drawn.shifts[:, step]
        expected = augmented(pictures, chosen, flipped, shifts)
        assert torch.equal(augmented(pictures[chosen], None, flipped, shifts), expected)
        rows, columns = positions((6, 9), flipped, shifts)
        for picture, image, number in zip(pictures[chosen], expected, range(7), strict=True):
            own = picture if rows is None else picture[rows[number]]
            assert torch.equal(image, own if columns is None else own[:, columns[number]])


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 999), st.integers(0, 999))
def test_every_epoch_of_every_trial_has_a_seed_of_its_own(seed: int, other: int, epoch: int, later: int) -> None:
    assert (epoch_seed(seed, epoch) == epoch_seed(other, later)) == ((seed, epoch) == (other, later))
    assert 0 <= epoch_seed(seed, epoch) < 2**63


AUGMENTED = Augmentation(flip=True, crop=0.125)


@pytest.mark.parametrize("augmentation", [Augmentation(), AUGMENTED])
def test_the_same_seed_and_epoch_give_the_same_batches_to_the_bit(pictures: Stored, augmentation: Augmentation) -> None:
    first, second = (seen(batches(pictures), 3, 1, augmentation) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize(("seed", "epoch"), [(4, 1), (3, 2)])
def test_another_seed_or_epoch_gives_another_order(pictures: Stored, seed: int, epoch: int) -> None:
    assert not torch.equal(
        seen(batches(pictures), 3, 1, AUGMENTED)[1], seen(batches(pictures), seed, epoch, AUGMENTED)[1]
    )


def test_what_was_drawn_before_changes_nothing(pictures: Stored) -> None:
    expected = seen(batches(pictures), 3, 1, AUGMENTED)[0]
    torch.manual_seed(99)
    torch.rand(5)
    made = batches(pictures)
    list(made.shuffled(3, 0, AUGMENTED))
    list(made.in_order())
    assert torch.equal(seen(made, 3, 1, AUGMENTED)[0], expected)


def test_a_model_s_normalisation_changes_neither_order_nor_augmentation(pictures: Stored) -> None:
    normalised = Preparation(16, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    plain, labels = seen(batches(pictures), 3, 1, AUGMENTED)
    other, other_labels = seen(batches(pictures, preparation=normalised), 3, 1, AUGMENTED)
    expected = (plain - torch.tensor(normalised.mean).view(1, 3, 1, 1)) / torch.tensor(normalised.std).view(1, 3, 1, 1)
    assert torch.equal(labels, other_labels)
    torch.testing.assert_close(other, expected)


def test_an_epoch_shows_each_picture_at_most_once_with_its_own_class(tmp_path: Path) -> None:
    count = 50
    # Picture number n is of colour n, and of class n.
    colours = np.arange(count, dtype=np.uint8)[:, None, None, None]
    np.save(tmp_path / "train_images.npy", np.broadcast_to(colours, (count, 8, 8, 3)))
    np.save(tmp_path / "train_labels.npy", np.arange(count))
    made = batches(Stored(str(tmp_path), "n", "", (), {}), count, batch=16, preparation=of_size(8))
    images, labels = seen(made, 0, 0, AUGMENTED)
    numbers = (images[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(numbers, labels)
    assert len(set(numbers.tolist())) == made.steps * 16 == 48
    images, labels = map(torch.cat, zip(*made.in_order(), strict=True))
    assert torch.equal((images[:, 0, 0, 0] * 255).round().long(), torch.arange(count))
    assert torch.equal(labels, torch.arange(count))


def test_fewer_pictures_than_a_batch_make_one_smaller_batch(pictures: Stored) -> None:
    made = batches(pictures, count=5)
    assert (made.steps, len(made)) == (1, 5)
    assert [len(labels) for _, labels in made.shuffled(0, 0, AUGMENTED)] == [5]


def test_evaluation_sees_every_picture_unchanged(pictures: Stored) -> None:
    made = batches(pictures)
    images, labels = map(torch.cat, zip(*made.in_order(), strict=True))
    expected = torch.from_numpy(pictures.images("train")[:100].copy()).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(images, expected)
    assert labels.tolist() == pictures.labels("train")[:100].tolist()


@pytest.mark.parametrize("size", [8, 15, 16, 40])
def test_images_come_as_float32_of_the_size_asked_for(pictures: Stored, size: int) -> None:
    made = batches(pictures, preparation=of_size(size))
    for images, labels in (next(made.in_order()), next(made.shuffled(0, 0, AUGMENTED))):
        assert images.shape == (32, 3, size, size)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize(("height", "width"), [(20, 10), (10, 20), (9, 31), (16, 16)])
@pytest.mark.parametrize("size", [10, 16, 24])
def test_a_picture_keeps_its_aspect_or_is_stretched(height: int, width: int, size: int, tmp_path: Path) -> None:
    """Its brightness rises from left to right by 4 a pixel, and from top to bottom by as much in another channel."""
    across, down = np.meshgrid(4 * np.arange(width), 4 * np.arange(height))
    np.save(tmp_path / "train_images.npy", np.stack([across, down, 0 * down], -1)[None].astype(np.uint8))
    np.save(tmp_path / "train_labels.npy", np.zeros(1, np.int64))
    stored = Stored(str(tmp_path), "slope", "", (), {"train": 1})
    for resize in ("crop", "stretch"):
        preparation = Preparation(size, PLAIN.mean, PLAIN.std, resize)
        ((images, _),) = Batches(stored, Subset("train", np.arange(1)), preparation, 1, CPU).in_order()
        assert images.shape == (1, 3, size, size)
        inner = images[0, :, 3:-3, 3:-3] * 255
        slope = [(inner[0].diff(dim=1)).mean().item() / 4, (inner[1].diff(dim=0)).mean().item() / 4]
        short = min(height, width)
        expected = [short / size, short / size] if resize == "crop" else [width / size, height / size]
        assert slope == pytest.approx(expected, rel=0.05)
        middle = [inner[0].mean().item() / 4, inner[1].mean().item() / 4]  # the middle stays the middle
        assert middle == pytest.approx([(width - 1) / 2, (height - 1) / 2], abs=0.6)


def test_normalisation_subtracts_the_mean_and_divides_by_the_deviation(pictures: Stored) -> None:
    means, deviations = (0.1, 0.2, 0.3), (0.5, 0.25, 0.2)
    images, _ = next(batches(pictures, preparation=Preparation(16, means, deviations)).in_order())
    raw = torch.from_numpy(pictures.images("train")[:32].copy()).permute(0, 3, 1, 2) / 255
    for channel, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
        torch.testing.assert_close(images[:, channel], (raw[:, channel] - mean) / deviation)


def test_a_resized_picture_keeps_its_brightness(pictures: Stored) -> None:
    small, large = (next(batches(pictures, preparation=of_size(size)).in_order())[0] for size in (8, 32))
    torch.testing.assert_close(large.mean((1, 2, 3)), small.mean((1, 2, 3)), atol=0.02, rtol=0)


def test_the_stored_pictures_are_never_written_to(pictures: Stored) -> None:
    before = pictures.images("train").copy()
    made = batches(pictures)
    seen(made, 0, 0, AUGMENTED)
    list(made.in_order())
    np.testing.assert_array_equal(pictures.images("train"), before)

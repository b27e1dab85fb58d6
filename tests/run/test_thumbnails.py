"""What a trial keeps of the pictures: few, small, and the ones that it says."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data.cache import Stored
from bench.data.splits import Subset, subsets
from bench.request import TrialSpec
from bench.run import trial
from bench.run.thumbnails import class_samples, confident_mistakes, pictures_file


def test_mistakes_are_the_wrong_ones_most_confident_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.95, 0.05], [0.2, 0.8]])
    labels = np.array([0, 1, 0, 1, 1])
    assert confident_mistakes(labels, probabilities).tolist() == [3, 1, 2]
    assert confident_mistakes(probabilities.argmax(1), probabilities).tolist() == []
    many = np.tile([[0.9, 0.1]], (50, 1))
    assert confident_mistakes(np.ones(50, int), many).tolist() == list(range(12))


def test_samples_are_the_first_of_each_class_and_fewer_of_many_classes() -> None:
    indices, labels = np.arange(100, 200), np.arange(100) % 10
    samples = class_samples(indices, labels)
    assert len(samples) == 40
    assert samples[:4].tolist() == [100, 110, 120, 130]
    assert len(class_samples(np.arange(1000), np.arange(1000) % 500)) == 40
    assert class_samples(np.arange(4), np.array([0, 0, 1, 1])).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("size, expected", [((8, 6), (8, 6)), ((128, 256), (32, 64))])
def test_thumbnails_are_at_most_64_pixels_and_keep_their_shape(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    for part in ("train", "test"):
        pictures = np.full((4, *size, 3), 200, np.uint8)
        np.save(tmp_path / f"{part}_images.npy", pictures)
        np.save(tmp_path / f"{part}_labels.npy", np.array([0, 1, 0, 1]))
    stored = Stored(str(tmp_path), "d", "f", ("a", "b"), {"train": 4, "test": 4})
    train, test = (Subset(part, np.arange(4)) for part in ("train", "test"))
    for probabilities, mistakes in (([[0.9, 0.1]] * 4, 2), ([[0.9, 0.1], [0.1, 0.9]] * 2, 0)):
        content = pictures_file(stored, train, test, np.array([0, 1, 0, 1]), np.array(probabilities))
        found = np.load(io.BytesIO(content))
        assert found["mistakes"].shape == (mistakes, *expected, 3)
        assert found["samples"].shape == (4, *expected, 3)
        assert found["samples"].dtype == np.uint8
        assert set(found["samples"].ravel()) == {200}


def test_a_trial_keeps_them_beside_its_predictions(tiny_trial: Callable[..., TrialSpec]) -> None:
    spec = tiny_trial("train.epochs=1", "train.label_noise=0.5")
    assert trial.run(spec).status == "ok"
    pictures, predictions = (np.load(spec.folder / f"{name}.npz") for name in ("pictures", "predictions"))
    rows = pictures["mistake_index"]
    called = predictions["probabilities"][rows].argmax(1)
    assert len(rows) > 0
    assert (called != predictions["label"][rows]).all()
    test = spec.stored.images("test")
    assert (pictures["mistakes"] == test[predictions["index"][rows]]).all()
    # The classes that the dataset gives, whatever noise the trial trained on.
    train = subsets(spec.stored, spec.protocol)["train"]
    images, labels = spec.stored.images("train")[train.indices], spec.stored.labels("train")[train.indices]
    for picture, label in zip(pictures["samples"], pictures["sample_label"], strict=True):
        same = (images == picture).all((1, 2, 3))
        assert label in labels[same]
    assert (spec.folder / "pictures.npz").stat().st_size < 100_000

"""Splits: the same for every model and every seed, nothing trained on that is validated on, classes balanced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from bench import RequestError
from bench.data.cache import Stored
from bench.data.splits import balanced, held_back, split


def stored_labels(labels: list[int], test: list[int], folder: Path) -> Stored:
    np.save(folder / "train_labels.npy", np.array(labels))
    np.save(folder / "test_labels.npy", np.array(test))
    return Stored(str(folder), "made", "", ("a", "b", "c"), {"train": len(labels), "test": len(test)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Overwritten by every example."""
    return tmp_path_factory.mktemp("labels")


labels = st.lists(st.integers(0, 2), min_size=12, max_size=60)


@given(labels, st.floats(0.2, 0.5), st.integers(0, 5))
def test_no_picture_is_both_trained_on_and_validated_on_and_none_is_lost(
    folder: Path, labels: list[int], share: float, seed: int
) -> None:
    assume(min(np.bincount(labels, minlength=3)) >= 2 or len(set(labels)) == 1)
    parts = split(stored_labels(labels, [0, 1], folder), share, seed)
    train, val = parts["train"].indices.tolist(), parts["val"].indices.tolist()
    assert sorted(train + val) == list(range(len(labels)))
    assert (train, val) == (sorted(train), sorted(val))
    assert parts["test"].indices.tolist() == [0, 1]


@given(
    st.lists(st.integers(0, 4), min_size=12, max_size=200),
    st.one_of(st.floats(0.05, 0.6), st.integers(5, 60)),
    st.integers(0, 2**32 - 1),
)
@example([0, 0, 1, 1, 2, 2, *[3] * 92], 49, 0)  # 49 × (1 / 49) is below 1: lots are drawn for what is left, too
def test_validation_pictures_are_those_that_scikit_learn_gives(labels: list[int], validation: float, seed: int) -> None:
    array, indices = np.array(labels), np.arange(len(labels))
    try:
        _, held = train_test_split(indices, test_size=validation, random_state=seed, stratify=array)
    except ValueError:
        with pytest.raises(RequestError, match=r"data\.validation"):
            held_back(array, validation, seed, "abcde")
    else:
        assert held_back(array, validation, seed, "abcde").tolist() == sorted(held.tolist())


def test_a_class_with_one_picture_is_named(folder: Path) -> None:
    with pytest.raises(RequestError, match="class c has one picture for training"):
        split(stored_labels([0] * 4 + [1] * 4 + [2], [0, 1], folder), 0.4, 0)


def test_validation_is_a_share_below_1_and_a_number_from_1(digits: Stored) -> None:
    assert len(split(digits, 0.25, 0)["val"].indices) == math.ceil(0.25 * digits.counts["train"])
    assert len(split(digits, 100, 0)["val"].indices) == 100


def test_validation_has_the_classes_in_the_proportions_of_the_whole(digits: Stored) -> None:
    labels = digits.labels("train")
    held = labels[split(digits, 0.2, 0)["val"].indices]
    assert np.abs(np.bincount(held) - 0.2 * np.bincount(labels)).max() <= 1


def test_the_split_follows_from_its_seed_alone(digits: Stored) -> None:
    def validated(seed: int) -> list[int]:
        return list(split(digits, 0.2, seed)["val"].indices.tolist())

    assert validated(1) == validated(1) != validated(2)


@given(labels, st.integers(1, 70), st.integers(0, 5))
def test_a_limit_takes_as_many_of_each_class_as_there_are_to_take(labels: list[int], limit: int, seed: int) -> None:
    array = np.array(labels)
    indices = np.arange(len(labels))
    assume(limit >= len(set(labels)))
    taken = balanced(indices, array, limit, seed, "train.limit")
    assert len(taken) == len(set(taken.tolist())) == min(limit, len(labels))
    assert taken.tolist() == sorted(taken.tolist())
    counts = np.bincount(array[taken], minlength=3)
    present = np.bincount(labels, minlength=3)
    # A class may have fewer than the largest only by the one left over, or where it has run out.
    assert all(count >= counts.max() - 1 or count == there for count, there in zip(counts, present, strict=True))


def test_a_limit_of_0_takes_all(digits: Stored) -> None:
    assert len(split(digits, 0.2, 0, 0, 0)["test"].indices) == digits.counts["test"]


def test_limits_do_not_touch_validation(digits: Stored) -> None:
    whole, limited = split(digits, 0.2, 0), split(digits, 0.2, 0, train_limit=50, test_limit=20)
    np.testing.assert_array_equal(whole["val"].indices, limited["val"].indices)
    assert (len(limited["train"].indices), len(limited["test"].indices)) == (50, 20)
    assert set(limited["train"].indices.tolist()) <= set(whole["train"].indices.tolist())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"validation": 1e6}, "data.validation = 1e"),
        ({"validation": 0.001}, "data.validation = 0.001"),
        ({"train_limit": 5}, "train.limit = 5: fewer than one picture for each of 10 classes"),
        ({"test_limit": 9}, "data.test_limit = 9"),
    ],
)
def test_a_division_that_leaves_too_few_pictures_names_the_setting(
    arguments: dict[str, Any], says: str, digits: Stored
) -> None:
    with pytest.raises(RequestError) as refused:
        split(digits, **{"validation": 0.2, "seed": 0, **arguments})
    assert says in str(refused.value)

"""Which pictures are trained on, validated on and tested on: the same for every model and every seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.cache import Stored
from bench.errors import RequestError
from bench.protocol import Protocol


@dataclass(frozen=True)
class Subset:
    """Which pictures a trial uses: `part` of the stored dataset, at `indices`."""

    part: str
    indices: np.ndarray
    # Their classes where these are not the dataset's own.
    labels: np.ndarray | None = None


def split(
    stored: Stored,
    validation: float,
    seed: int,
    train_limit: int = 0,
    test_limit: int = 0,
    *,
    train_fraction: float = 1.0,
    label_noise: float = 0.0,
) -> dict[str, Subset]:
    """What is trained on, validated on and tested on; the same for every model and every trial seed.

    Where the dataset has no validation pictures, `validation` of the training pictures are held back
    (a share below 1, else a number), by class as in the whole. Limits keep the classes balanced;
    `train_fraction` takes the same share of each class, a smaller one being part of a larger one;
    `label_noise` is the share of the training labels that are replaced.
    Raises RequestError where too few pictures are left.
    """
    labels = stored.labels("train")
    train = np.arange(len(labels))
    if "val" in stored.counts:
        val = Subset("val", np.arange(stored.counts["val"]))
    else:
        held = held_back(labels, validation, seed, stored.classes)
        train = np.setdiff1d(train, held)
        val = Subset("train", held)
    train = balanced(train, labels, train_limit, seed, "train.limit")
    train = share_of_each_class(train, labels, train_fraction, seed)
    tested = stored.labels("test")
    test = balanced(np.arange(len(tested)), tested, test_limit, seed, "data.test_limit")
    noisy = with_noise(labels[train], label_noise, len(stored.classes), seed)
    return {"train": Subset("train", train, noisy), "val": val, "test": Subset("test", test)}


def subsets(stored: Stored, protocol: Protocol) -> dict[str, Subset]:
    """What is trained on, validated on and tested on under the protocol: see `split`."""
    data, train = protocol.data, protocol.train
    return split(
        stored,
        data.validation,
        data.split_seed,
        train.limit,
        data.test_limit,
        train_fraction=train.fraction,
        label_noise=train.label_noise,
    )


def held_back(labels: np.ndarray, validation: float, seed: int, names: Sequence[str]) -> np.ndarray:
    """Which pictures are for validation: so many of each class that its share there is its share in the whole.

    The very ones that scikit-learn's StratifiedShuffleSplit gives. Its import takes a second and 100 MB, at every
    start of a run, for these lines.
    """
    classes, of_each = np.unique(labels, return_counts=True)
    held = int(validation) if validation >= 1 else math.ceil(validation * len(labels))
    for part, count in (("validation", held), ("training", len(labels) - held)):
        if count < len(classes):
            raise RequestError(
                f"data.validation = {validation:g}: of {len(labels)} pictures {max(0, count)} would be for {part}, and "
                f"{len(classes)} classes want at least one picture each"
            )
    if of_each.min() < 2:
        rare = names[classes[of_each.argmin()]]
        raise RequestError(
            f"data.validation: class {rare} has one picture for training: add another, or give the dataset a val/ of "
            "its own"
        )
    generator = np.random.RandomState(seed)
    trained = _drawn_of_each(of_each, len(labels) - held, generator)
    _drawn_of_each(of_each - trained, held, generator)  # all that are left: only the generator goes on
    chosen = []
    for label, count in zip(classes, trained, strict=True):
        members = np.flatnonzero(labels == label)
        chosen.append(members[generator.permutation(len(members))[count:]])
    return np.sort(np.concatenate(chosen))


def _drawn_of_each(of_each: np.ndarray, drawn: int, generator: np.random.RandomState) -> np.ndarray:
    """So many of each class that they are `drawn` in all: its share of them, rounded; equal remainders draw lots."""
    shares = of_each / of_each.sum() * drawn
    counts: np.ndarray = np.floor(shares).astype(int)
    missing = int(drawn - counts.sum())
    remainders = shares - counts
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        (equal,) = np.where(remainders == remainder)
        more = generator.choice(equal, min(len(equal), missing), replace=False)
        counts[more] += 1
        missing -= len(more)
    return counts


def balanced(indices: np.ndarray, labels: np.ndarray, limit: int, seed: int, setting: str) -> np.ndarray:
    """At most `limit` of the indices, as many of each class as of any other (one more of some, at odd limits)."""
    if limit == 0 or limit >= len(indices):
        return indices
    generator = np.random.default_rng(seed)
    classes = np.unique(labels[indices])
    if limit < len(classes):
        raise RequestError(f"{setting} = {limit}: fewer than one picture for each of {len(classes)} classes")
    by_class = [generator.permutation(indices[labels[indices] == label]) for label in classes]
    # One of each class in turn; a class that has run out is passed over.
    turns = sorted((turn, order, int(i)) for order, members in enumerate(by_class) for turn, i in enumerate(members))
    return np.sort(np.array([index for _, _, index in turns[:limit]]))


def share_of_each_class(indices: np.ndarray, labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """That share of each class of the indices, at least one of each."""
    if fraction == 1:
        return indices
    generator = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels[indices]):
        members = generator.permutation(indices[labels[indices] == label])
        kept.append(members[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(kept))


def with_noise(labels: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray | None:
    """The labels with that share of them replaced, each by one of the other classes; None where none is."""
    if share == 0:
        return None
    generator = np.random.default_rng(seed)
    noisy = labels.copy()
    replaced = generator.permutation(len(labels))[: round(share * len(labels))]
    noisy[replaced] = (labels[replaced] + generator.integers(1, classes, len(replaced))) % classes
    return noisy

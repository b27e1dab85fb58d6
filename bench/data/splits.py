"""Which pictures are trained on, validated on and tested on: the same for every model and every seed."""

from __future__ import annotations

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
        from sklearn.model_selection import train_test_split  # 100 MB: only where it is needed

        held_back = validation if validation < 1 else int(validation)
        try:
            train, held = train_test_split(train, test_size=held_back, random_state=seed, stratify=labels)
        except ValueError as error:
            raise RequestError(f"data.validation = {validation:g}: {error}") from None
        val = Subset("train", np.sort(held))
    train = balanced(np.sort(train), labels, train_limit, seed, "train.limit")
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

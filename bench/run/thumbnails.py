"""What a trial keeps of the pictures themselves, for people to look at: its most confident mistakes, and samples."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from bench.data.cache import Stored
from bench.data.splits import Subset

SIDE = 64  # pixels, at most
MISTAKES = 12
SAMPLES_OF_A_CLASS = 4
SAMPLES = 40  # in all: a trial's files stay small


def pictures_file(stored: Stored, train: Subset, test: Subset, labels: np.ndarray, probabilities: np.ndarray) -> bytes:
    """The content of a trial's pictures.npz.

    `labels` (N,) and `probabilities` (N, classes) are of the test pictures. The file holds `mistakes`
    (k, H, W, 3; uint8), `mistake_index` (k,), their rows in predictions.npz, `samples` (m, H, W, 3; uint8) of the
    training pictures and `sample_label` (m,).
    """
    mistakes = confident_mistakes(labels, probabilities)
    train_labels = stored.labels(train.part)
    samples = class_samples(train.indices, train_labels[train.indices])
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        mistakes=_thumbnails(stored.images(test.part), test.indices[mistakes]),
        mistake_index=mistakes,
        samples=_thumbnails(stored.images(train.part), samples),
        sample_label=train_labels[samples],
    )
    return buffer.getvalue()


def confident_mistakes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The rows of at most 12 pictures that are called another class, those with the highest probability first."""
    called = probabilities.argmax(1)
    wrong = np.flatnonzero(called != labels)
    confidence = probabilities[wrong, called[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")][:MISTAKES]


def class_samples(indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of those `indices`, whose classes are `labels`, the first of each class: four of each, of many classes fewer."""
    classes = np.unique(labels)[:SAMPLES]
    each = min(SAMPLES_OF_A_CLASS, SAMPLES // max(1, len(classes)))
    return np.concatenate([indices[labels == label][:each] for label in classes])


def _thumbnails(pictures: np.ndarray, indices: Iterable[int]) -> np.ndarray:
    """Those pictures (k, H, W, 3), the longer side at most 64 pixels."""
    height, width = pictures.shape[1:3]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    found = [
        np.asarray(Image.fromarray(np.asarray(pictures[index])).resize(size, Image.Resampling.LANCZOS))
        for index in indices
    ]
    return np.stack(found) if found else np.zeros((0, size[1], size[0], 3), np.uint8)

"""What expected calibration error chance alone gives: a model whose confidence is right shows some, too.

The error is a sum of absolute values over bins, so it cannot come out at 0 from few pictures. A model's own
confidences say how large it would be if each were exactly its chance of being right.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np

BINS, DRAWS = 15, 200


def by_chance(predictions: Path) -> float | None:
    """The mean ECE (0..1; 15 bins) of a calibrated model with the confidences in that file; None without it."""
    try:
        stat = predictions.stat()
        return _by_chance(predictions, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


@lru_cache(maxsize=2048)
def _by_chance(predictions: Path, changed: int, size: int) -> float:
    with np.load(predictions) as opened:
        confidence = opened["probabilities"].max(1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    expected = np.bincount(bins, confidence, BINS)
    generator = np.random.default_rng(0)  # the same answer each time
    seen = 0.0
    for _ in range(DRAWS):
        right = generator.random(len(confidence)) < confidence
        seen += float(np.abs(np.bincount(bins, right, BINS) - expected).sum())
    return seen / DRAWS / len(confidence)

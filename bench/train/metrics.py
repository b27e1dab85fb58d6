"""The record's `accuracy`, from what the model said of the test pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.records.scores import scores


def accuracy(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], loss: float, val_top1: float
) -> dict[str, object]:
    """From probabilities (N, classes), true classes (N), the mean cross-entropy, and the best epoch's validation."""
    return {"val_top1": val_top1, "test_loss": loss, **scores(probabilities, labels, classes)}

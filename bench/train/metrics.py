"""How right a trial's model is on the test pictures, from the probabilities that it gave them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CALIBRATION_BINS = 15


def accuracy(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], loss: float, val_top1: float
) -> dict[str, object]:
    """The record's `accuracy`, from probabilities (N, classes), true classes (N) and the mean cross-entropy.

    `per_class` gives precision, recall, F1 and support; `confusion[i][j]` counts pictures of class i
    taken for class j.
    """
    from sklearn import metrics

    predicted = probabilities.argmax(1)
    indices = np.arange(len(classes))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=indices, zero_division=0.0
    )
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": float(s)}
        for name, p, r, f, s in zip(classes, precision, recall, f1, support, strict=True)
    }
    best_five = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    return {
        "val_top1": val_top1,
        "test_top1": float((predicted == labels).mean()),
        "test_top5": float((best_five == labels[:, None]).any(1).mean()),
        "test_loss": loss,
        "macro_f1": float(np.mean(f1)),
        "ece": expected_calibration_error(probabilities, labels),
        "per_class": per_class,
        "confusion": metrics.confusion_matrix(labels, predicted, labels=indices).tolist(),
    }


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance between confidence and accuracy over equal bins of confidence (Guo et al., ICML 2017, eq. 3)."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    # A confidence on an edge belongs to the bin below it, as in the paper's half-open intervals.
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    gaps = np.abs(np.bincount(bin_of, confidence, bins) - np.bincount(bin_of, right, bins))
    return float(gaps.sum() / counts.sum())

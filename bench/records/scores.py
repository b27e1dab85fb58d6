"""How right a trial's model is on the test pictures, from the probabilities that it gave them.

A trial computes its record's `accuracy` by this, and whoever reads the record again holds it against predictions.npz.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CALIBRATION_BINS = 15


def scores(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """`test_top1`, `test_top5`, `macro_f1`, `ece` (all 0..1), `per_class` and `confusion`.

    From probabilities (N, classes) and true classes (N). `per_class` gives precision, recall, F1 (0 where there is
    nothing to divide by) and support; `confusion[i][j]` counts pictures of class i taken for class j. Of classes
    that are equally probable the first counts as the answer.
    """
    import numpy as np

    predicted, count = probabilities.argmax(1), len(classes)
    confusion = np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)
    right, taken, support = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    precision, recall = _shares(right, taken), _shares(right, support)
    f1 = _shares(2 * right, taken + support)
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": float(s)}
        for name, p, r, f, s in zip(classes, precision, recall, f1, support, strict=True)
    }
    best_five = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    return {
        "test_top1": float((predicted == labels).mean()),
        "test_top5": float((best_five == labels[:, None]).any(1).mean()),
        "macro_f1": float(np.mean(f1)),
        "ece": expected_calibration_error(probabilities, labels),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    import numpy as np

    found: np.ndarray = np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
    return found


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance between confidence and accuracy over equal bins of confidence (Guo et al., ICML 2017, eq. 3)."""
    return calibration_error(probabilities.max(1), probabilities.argmax(1) == labels)


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """The same of confidences (N) and whether each answer was right (N); of several sets (sets, N) the mean."""
    import numpy as np

    # A confidence on an edge belongs to the bin below it, as in the paper's half-open intervals.
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    expected = np.bincount(bin_of, confidence, bins)
    sets = np.atleast_2d(right)
    gaps = [np.abs(expected - np.bincount(bin_of, one, bins)).sum() for one in sets]
    return float(np.mean(gaps)) / len(confidence)

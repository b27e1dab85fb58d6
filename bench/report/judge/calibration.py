"""What expected calibration error chance alone gives: a model whose confidence is right shows some, too.

The error is a sum of absolute values over bins, so it cannot come out at 0 from few pictures. A model's own
confidences say how large it would be if each were exactly its chance of being right.
"""

from __future__ import annotations

import numpy as np

from bench.records.predictions import Predictions, once_a_file
from bench.records.scores import calibration_error

DRAWS = 200


@once_a_file
def error_by_chance(predictions: Predictions) -> float:
    """The mean ECE (0..1) of a calibrated model with these confidences."""
    confidence = predictions.probabilities.max(1).astype(np.float64)
    generator = np.random.default_rng(0)  # the same answer each time
    return calibration_error(confidence, generator.random((DRAWS, len(confidence))) < confidence)

"""A linear probe: the head alone, fitted on the features of the pictures as they are, each computed once.

Logistic regression by scikit-learn on standardised features, from the strongest L2 to the weakest, each starting from
the one before. Validation chooses among them by top-1, of equal ones by the loss; the test pictures are not looked at.
There is no schedule, no order and no chance in it: every seed of a model gives the same.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.data.batches import Batches
from bench.device import Device
from bench.models.classifier import Classifier
from bench.protocol import Protocol
from bench.records import record as records
from bench.train.optimizer import class_weights
from bench.train.parts import halved, in_parts

# Of the squared weights' sum, beside the mean cross-entropy; for features whose variance is 1.
STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
# Of the solver, for each strength; it begins where the last one ended.
MOST_STEPS = 300


@dataclass(frozen=True)
class Fit:
    """One strength of L2: what validation says of it, and whether the solver came to its end."""

    l2: float
    val_top1: float
    val_loss: float
    converged: bool
    seconds: float


@dataclass(frozen=True)
class _Features:
    """Of a subset: features (N, D; float64) and classes (N)."""

    values: np.ndarray
    labels: np.ndarray


def fit_probe(
    model: Classifier,
    train: Batches,
    val: Batches,
    protocol: Protocol,
    classes: Sequence[str],
    precision: str,
    warn: Callable[[str], None] | None = None,
) -> records.Training:
    """Fit the model's head, one linear layer, and leave the model with it; gives the record's `training`.

    Where `warn` is there to be told, batches that do not fit into the memory are computed in parts.
    """
    started = time.perf_counter()
    extractor = _Extractor(model, precision, warn)
    fitted, held = map(extractor.features, (train, val))
    extracted = time.perf_counter() - started
    weights = class_weights(protocol, classes, train.labels)
    own = None if weights is None else weights[train.labels].cpu().numpy()
    mean, deviation = fitted.values.mean(0), fitted.values.std(0)
    deviation[deviation == 0] = 1.0  # a feature that is always the same says nothing, whatever its weight
    standardised = (fitted.values - mean) / deviation
    solver = _solver()
    fits, layers = [], []
    for strength in STRENGTHS:
        began = time.perf_counter()
        converged = _solve(solver, strength, standardised, fitted.labels, own)
        layers.append(_layer(solver, mean, deviation, len(classes)))
        val_loss, val_top1 = _judged(layers[-1], held)
        fits.append(Fit(strength, val_top1, val_loss, converged, time.perf_counter() - began))
    choice, layer = max(zip(fits, layers, strict=True), key=lambda one: (one[0].val_top1, -one[0].val_loss))
    train_loss, train_top1 = _judged(layer, fitted)
    (head,) = model.head.children()
    _put(layer, head)
    seconds = time.perf_counter() - started
    return records.Training(
        epochs=1,
        best_epoch=1,
        stopped_early=False,
        seconds=seconds,
        epoch_seconds=[seconds],
        seconds_to_best=seconds,
        history=records.History(
            train_loss=[train_loss], train_top1=[train_top1], val_loss=[choice.val_loss], val_top1=[choice.val_top1]
        ),
        frozen_prefix={
            "used": True,
            "found_by": "probe",
            "at": ["backbone"],
            "views": 1,
            "seconds": extracted,
            "bytes": fitted.values.nbytes + held.values.nbytes,
            "kept_in": "memory",
            "dtypes": ["float64"],
        },
        micro_batch=extractor.most,
        tuning={"chosen_l2": choice.l2, "seconds": seconds - extracted, "tries": [asdict(one) for one in fits]},
    )


@dataclass
class _Extractor:
    """The model's backbone, with how many pictures it is given at once at most; None: whole batches."""

    model: Classifier
    precision: str
    warn: Callable[[str], None] | None
    most: int | None = None

    @torch.no_grad()
    def features(self, batches: Batches) -> _Features:
        """Of the pictures as they are."""
        self.model.eval()
        with batches.device.autocast(self.precision):
            parts = [self._of(images, labels, batches.device) for images, labels in batches.in_order()]
        return _Features(torch.cat(parts).numpy(), batches.labels.cpu().numpy())

    def _of(self, images: torch.Tensor, labels: torch.Tensor, device: Device) -> torch.Tensor:
        while True:
            try:
                parts = in_parts(images, labels, self.most)
                return torch.cat([self.model.backbone(part).double().cpu() for part, _ in parts])
            except Exception as error:
                if self.warn is None:
                    raise
                held, self.most = halved(error, len(images), self.most)
            # Only here are the frames gone that hold what filled the memory.
            device.release_memory()
            self.warn(f"out of memory in parts of {held} pictures: features are computed of {self.most} at once")


def _solver() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=MOST_STEPS, warm_start=True, tol=1e-5)


def _solve(solver: Any, strength: float, values: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> bool:
    """Whether it came to its end."""
    from sklearn.exceptions import ConvergenceWarning

    # scikit-learn: half the squared weights + C × the sum of losses; ours: strength × the squares + the mean loss.
    solver.C = 1 / (2 * strength * len(labels))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        solver.fit(values, labels, sample_weight=weights)
    return not any(issubclass(one.category, ConvergenceWarning) for one in told)


def _layer(solver: Any, mean: np.ndarray, deviation: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (classes, D) and biases (classes) for features as they are; a class that was not there is never said."""
    weight, bias = solver.coef_, solver.intercept_
    if len(solver.classes_) == 2:  # one row, of the second against the first
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / deviation
    all_weights, all_biases = np.zeros((classes, weight.shape[1])), np.full(classes, -1e4)
    all_weights[solver.classes_], all_biases[solver.classes_] = weight, bias - weight @ mean
    return all_weights, all_biases


def _judged(layer: tuple[np.ndarray, np.ndarray], features: _Features) -> tuple[float, float]:
    """Mean cross-entropy, and top-1."""
    weight, bias = layer
    logits = torch.from_numpy(features.values @ weight.T + bias)
    labels = torch.from_numpy(features.labels)
    return float(nn.functional.cross_entropy(logits, labels)), float((logits.argmax(1) == labels).double().mean())


@torch.no_grad()
def _put(layer: tuple[np.ndarray, np.ndarray], head: nn.Module) -> None:
    for parameter, values in zip((head.weight, head.bias), layer, strict=True):
        assert isinstance(parameter, nn.Parameter)
        parameter.copy_(torch.from_numpy(values))

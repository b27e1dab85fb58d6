"""What the record says of accuracy, against values worked out by hand and against what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from bench.records.record import Accuracy
from bench.records.scores import expected_calibration_error
from bench.train.metrics import accuracy


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, classes) and labels (N)."""
    count, classes = draw(st.integers(1, 30)), draw(st.integers(2, 7))
    scores = draw(arrays(np.float64, (count, classes), elements=st.floats(0.001, 1)))
    labels = draw(arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32), labels


def measured(probabilities: np.ndarray, labels: np.ndarray) -> Accuracy:
    names = [f"class {index}" for index in range(probabilities.shape[1])]
    return Accuracy.model_validate(accuracy(probabilities, labels, names, loss=0.5, val_top1=0.25))


def test_accuracy_is_as_worked_out_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    result = measured(probabilities, np.array([0, 1, 1, 2]))
    assert result.test_top1 == 0.5
    assert result.confusion == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert result.per_class["class 0"] == pytest.approx({"precision": 0.5, "recall": 1, "f1": 2 / 3, "support": 1})
    assert result.per_class["class 1"] == pytest.approx({"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2})
    assert result.per_class["class 2"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert result.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert (result.test_loss, result.val_top1) == (0.5, 0.25)


def test_the_top_five_are_the_five_most_probable() -> None:
    probabilities = np.tile([0.05, 0.1, 0.15, 0.2, 0.24, 0.26], (3, 1))
    assert measured(probabilities, np.array([0, 5, 5])).test_top5 == pytest.approx(2 / 3)


def test_calibration_error_is_as_worked_out_by_hand() -> None:
    # Two answers of 0.8, one of them right: |0.8 - 0.5|; two of 0.6, both right: |0.6 - 1|.
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]])
    assert expected_calibration_error(probabilities, np.array([0, 1, 0, 0])) == pytest.approx((0.3 + 0.4) / 2)


def test_confidence_that_is_always_justified_has_no_calibration_error() -> None:
    assert expected_calibration_error(np.eye(4), np.arange(4)) == 0
    assert expected_calibration_error(np.eye(4), (np.arange(4) + 1) % 4) == 1


@given(answers())
def test_calibration_error_lies_between_0_and_1(answer: tuple[np.ndarray, np.ndarray]) -> None:
    assert 0 <= expected_calibration_error(*answer) <= 1


@given(answers(), st.randoms(use_true_random=False))
def test_calibration_error_does_not_depend_on_the_order(answer: tuple[np.ndarray, np.ndarray], random) -> None:  # type: ignore[no-untyped-def]
    probabilities, labels = answer
    order = random.sample(range(len(labels)), len(labels))
    there = expected_calibration_error(probabilities[order], labels[order])
    assert there == pytest.approx(expected_calibration_error(probabilities, labels), abs=1e-6)


@given(answers())
def test_the_parts_of_accuracy_agree_with_each_other(answer: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answer
    result = measured(probabilities, labels)
    confusion = np.array(result.confusion)
    assert confusion.sum() == len(labels)
    assert np.trace(confusion) / len(labels) == pytest.approx(result.test_top1)
    assert confusion.sum(1).tolist() == [values["support"] for values in result.per_class.values()]
    assert result.test_top1 <= result.test_top5 <= 1
    assert result.macro_f1 == pytest.approx(np.mean([values["f1"] for values in result.per_class.values()]))
    assert probabilities.shape[1] > 5 or result.test_top5 == 1


@given(answers())
def test_what_scikit_learn_says_is_the_same(answer: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answer
    result, predicted = measured(probabilities, labels), probabilities.argmax(1)
    classes = np.arange(probabilities.shape[1])
    assert result.confusion == metrics.confusion_matrix(labels, predicted, labels=classes).tolist()
    theirs = metrics.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0.0)
    ours = [list(values.values()) for values in result.per_class.values()]
    np.testing.assert_allclose(np.array(ours).T, np.array(theirs))

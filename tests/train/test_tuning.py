"""Fairness options: equal tuning, less data, wrong labels; the same for every model, and all in the record."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from beside import BESIDE
from hypothesis import given
from hypothesis import strategies as st

from bench.data.cache import Stored
from bench.data.splits import share_of_each_class, subsets, with_noise
from bench.errors import RequestError
from bench.events import EpochEnded, Event
from bench.protocol import Protocol, load_protocol
from bench.records.record import Record
from bench.request import Place, TrialSpec
from bench.run.trial import run as run_trial


@pytest.fixture
def trial(digits: Stored, tiny_plugins: Path, tmp_path: Path) -> Callable[..., Record]:
    def run(protocol: Protocol, folder: str = "results", tell: Callable[[Event], None] = lambda _: None) -> Record:
        spec = TrialSpec(
            "tiny",
            0,
            protocol,
            digits,
            tmp_path / folder,
            Place(device="cpu", plugins=(tiny_plugins,), working_directory=tmp_path),
            way=BESIDE,
        )
        return run_trial(spec, tell)

    return run


@pytest.mark.slow
def test_each_rate_is_tried_and_validation_chooses(
    trial: Callable[..., Record], tiny_protocol: Callable[..., Protocol]
) -> None:
    events: list[Event] = []
    protocol = tiny_protocol("tuning.learning_rates=[1e-7, 1e-2, 1e-3]")
    record = trial(protocol, tell=events.append)
    assert record.status == "ok" and record.training is not None and record.accuracy is not None
    tuning = record.training.tuning
    assert tuning is not None
    assert [one["learning_rate"] for one in tuning["tries"]] == [1e-7, 1e-2, 1e-3]
    best = max(tuning["tries"], key=lambda one: one["val_top1"])
    assert tuning["chosen"] == best["learning_rate"] != 1e-7
    assert tuning["chosen_weight_decay"] == best["weight_decay"] == protocol.optimizer.weight_decay
    assert record.accuracy.val_top1 == best["val_top1"] == max(record.training.history.val_top1)
    assert all(one["epochs"] == 3 and one["seconds"] > 0 for one in tuning["tries"])
    assert tuning["seconds"] == pytest.approx(sum(one["seconds"] for one in tuning["tries"]))
    assert record.seconds is not None and record.seconds > tuning["seconds"] > record.training.seconds
    epochs = [(event.epoch, event.epochs) for event in events if isinstance(event, EpochEnded)]
    assert epochs == [(number, 9) for number in range(1, 10)]


@pytest.mark.slow
def test_a_try_is_the_training_that_its_rate_alone_would_give(
    trial: Callable[..., Record], tiny_protocol: Callable[..., Protocol]
) -> None:
    tuned = trial(tiny_protocol("tuning.learning_rates=[1e-4, 1e-2, 1e-5]"))
    alone = trial(tiny_protocol("optimizer.learning_rate=1e-2"), "alone")
    assert tuned.training is not None and alone.training is not None
    assert tuned.training.tuning is not None and tuned.training.tuning["chosen"] == 1e-2
    assert tuned.training.history == alone.training.history
    assert tuned.accuracy == alone.accuracy
    assert alone.training.tuning is None


@pytest.mark.slow
def test_a_rate_that_diverges_is_a_try_like_any_other(
    trial: Callable[..., Record], tiny_protocol: Callable[..., Protocol]
) -> None:
    settings = ("optimizer.name=sgd", "schedule.name=constant")
    record = trial(tiny_protocol(*settings, "tuning.learning_rates=[1e30, 1e-2]"))
    assert record.status == "ok" and record.training is not None and record.training.tuning is not None
    first, second = record.training.tuning["tries"]
    assert first["val_top1"] is None and first["seconds"] > 0
    assert record.training.tuning["chosen"] == second["learning_rate"]
    assert record.accuracy is not None and math.isfinite(record.accuracy.test_loss)


def test_a_trial_of_which_every_rate_diverges_has_diverged(
    trial: Callable[..., Record], tiny_protocol: Callable[..., Protocol]
) -> None:
    settings = ("optimizer.name=sgd", "schedule.name=constant", "tuning.learning_rates=[1e30, 1e29]")
    assert trial(tiny_protocol(*settings)).status == "diverged"


@pytest.mark.slow
def test_no_checkpoint_of_a_try_is_left_behind(
    trial: Callable[..., Record], tiny_protocol: Callable[..., Protocol], tmp_path: Path
) -> None:
    trial(tiny_protocol("tuning.learning_rates=[1e-3, 1e-2]"))
    assert list(tmp_path.glob("**/checkpoint*")) == []


@pytest.mark.slow
def test_a_killed_trial_goes_on_with_the_tries_that_were_done(
    trial: Callable[..., Record], tiny_protocol: Callable[..., Protocol]
) -> None:
    protocol = tiny_protocol("tuning.learning_rates=[1e-3, 1e-2]")

    class KilledError(BaseException):
        pass

    def kill(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 5:
            raise KilledError

    with pytest.raises(KilledError):
        trial(protocol, tell=kill)
    again: list[Event] = []
    record = trial(protocol, tell=again.append)
    whole = trial(protocol, "whole")
    assert [event.epoch for event in again if isinstance(event, EpochEnded)] == [6]
    assert record.training is not None and whole.training is not None
    assert record.training.history == whole.training.history


def test_rates_and_weight_decays_are_a_grid_or_drawn_between_the_ends(tiny_protocol: Callable[..., Protocol]) -> None:
    both = ("tuning.learning_rates=[1e-4, 1e-2]", "tuning.weight_decays=[0.01, 0.3]")
    grid = tiny_protocol(*both)
    assert settings_of(grid) == [(1e-4, 0.01), (1e-4, 0.3), (1e-2, 0.01), (1e-2, 0.3)]
    drawn = settings_of(tiny_protocol(*both, "tuning.tries=200"))
    assert len(set(drawn)) == 200 and settings_of(tiny_protocol(*both, "tuning.tries=200")) == drawn
    for values, low, high in zip(zip(*drawn, strict=True), (1e-4, 0.01), (1e-2, 0.3), strict=True):
        assert low <= min(values) and max(values) <= high
        middle = math.sqrt(low * high)
        assert sum(value < middle for value in values) == pytest.approx(100, abs=25)  # evenly, in logarithms
    own = tiny_protocol().optimizer
    decays = settings_of(tiny_protocol("tuning.weight_decays=[0, 0.1]"))
    assert decays == [(own.learning_rate, 0), (own.learning_rate, 0.1)]
    assert settings_of(tiny_protocol()) == [(own.learning_rate, own.weight_decay)]


def settings_of(protocol: Protocol) -> list[tuple[float, float]]:
    return [(one.optimizer.learning_rate, one.optimizer.weight_decay) for one in protocol.tries]


CONTRADICTIONS = {
    ("tuning.tries=4",): "tuning.tries draws between values",
    ("tuning.tries=4", "tuning.learning_rates=[1e-3]"): "tuning.tries draws between values",
    ("tuning.tries=4", "tuning.weight_decays=[0, 0.1]"): "0 has none",
    ("tuning.weight_decays=[-1]",): r"tuning\.weight_decays",
    ("tuning.tries=-1",): r"tuning\.tries",
}


@pytest.mark.parametrize("settings", CONTRADICTIONS)
def test_tries_that_cannot_be_drawn_are_refused(settings: tuple[str, ...]) -> None:
    with pytest.raises(RequestError, match=CONTRADICTIONS[settings]):
        load_protocol("quick", settings)


@pytest.mark.parametrize(
    "override", ["tuning.learning_rates=[0]", "tuning.learning_rates=[inf]", "tuning.learning_rates=1e-3"]
)
def test_rates_that_are_none_are_refused(override: str) -> None:
    with pytest.raises(RequestError, match=r"tuning\.learning_rates"):
        load_protocol("quick", [override])


@pytest.mark.parametrize(
    "value", ["train.fraction=0", "train.fraction=1.1", "train.label_noise=1", "train.label_noise=-1"]
)
def test_shares_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(RequestError, match=value.partition("=")[0]):
        load_protocol("quick", [value])


# A share of the data.

labels_of_classes = st.lists(st.integers(0, 4), min_size=10, max_size=200).map(np.array)


@given(labels_of_classes, st.floats(0.05, 1), st.floats(0.05, 1), st.integers(0, 5))
def test_a_fraction_takes_that_share_of_each_class_and_smaller_ones_lie_in_larger(
    labels: np.ndarray, one: float, other: float, seed: int
) -> None:
    small, large = (share_of_each_class(np.arange(len(labels)), labels, share, seed) for share in sorted((one, other)))
    assert set(small) <= set(large)
    for label in np.unique(labels):
        there = (labels == label).sum()
        assert (labels[large] == label).sum() == max(1, round(max(one, other) * there))
    assert list(large) == sorted(set(large))


def test_a_fraction_is_taken_of_the_training_pictures_only(digits: Stored) -> None:
    whole, half = (subsets(digits, load_protocol("quick", [f"train.fraction={share}"])) for share in (1, 0.5))
    assert len(half["train"].indices) == pytest.approx(len(whole["train"].indices) / 2, abs=5)
    for part in ("val", "test"):
        assert np.array_equal(half[part].indices, whole[part].indices)


# Wrong labels.


@given(labels_of_classes, st.floats(0, 0.99), st.integers(0, 5))
def test_noise_replaces_exactly_its_share_each_label_by_another_class(
    labels: np.ndarray, share: float, seed: int
) -> None:
    noisy = with_noise(labels, share, 5, seed)
    if noisy is None:
        assert share == 0
        return
    assert (noisy != labels).sum() == round(share * len(labels))
    assert set(noisy) <= set(range(5))
    again = with_noise(labels, share, 5, seed)
    assert again is not None and np.array_equal(noisy, again)


@pytest.mark.slow
def test_noise_is_in_the_training_labels_only_and_all_models_and_seeds_share_it(
    digits: Stored, trial: Callable[..., Record], tiny_protocol: Callable[..., Protocol]
) -> None:
    protocol = tiny_protocol("train.label_noise=0.4")
    parts = subsets(digits, protocol)
    train, again = parts["train"], subsets(digits, protocol)["train"]
    assert train.labels is not None and again.labels is not None
    assert np.array_equal(train.labels, again.labels)
    assert (train.labels != digits.labels("train")[train.indices]).mean() == 0.4
    assert parts["val"].labels is None and parts["test"].labels is None
    clean, noisy = (
        trial(tiny_protocol("train.epochs=6"), "clean"),
        trial(tiny_protocol("train.epochs=6", "train.label_noise=0.4")),
    )
    assert clean.training is not None and noisy.training is not None
    assert noisy.training.history.train_loss[-1] > clean.training.history.train_loss[-1] + 0.05

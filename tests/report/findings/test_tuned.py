"""With each model's own best settings: what changes of the order, and which of that is more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made import answers, write_trial

from bench.records.comparison import read_comparisons
from bench.report import findings
from bench.report.judge.paired import LEVEL
from bench.report.judge.tuned import efforts

EQUAL: dict[str, Any] = {"optimizer": {"name": "adam", "learning_rate": 1e-3}, "train": {"epochs": 3}}
TUNED = {**EQUAL, "tuning": {"learning_rates": [1e-4, 1e-3, 1e-2]}}


def write(results: Path, name: str, share: float, tuned: float, rate: float, seeds: int = 1) -> None:
    """A model with its top-1 at equal settings and with the rate that it chose."""
    for seed in range(seeds):
        write_trial(results, name, answers(share, 400, seed), seed=seed, protocol="equal", settings=EQUAL)
        tries = [{"learning_rate": one, "weight_decay": 0.0, "val_top1": 0.5, "epochs": 3, "seconds": 9.0}
                 for one in TUNED["tuning"]["learning_rates"]]  # fmt: skip
        own = {"chosen": rate, "chosen_weight_decay": 0.0, "seconds": 27.0, "tries": tries}
        write_trial(
            results, name, answers(tuned, 400, seed + 50), seed=seed, protocol="own", settings=TUNED,
            training={"tuning": own},
        )  # fmt: skip


def page(results: Path) -> str:
    found, damaged = read_comparisons(results)
    (artifact,) = findings.artifacts(results, found)
    assert damaged == []
    return artifact.make().decode()


def sentence(results: Path) -> str:
    (found,) = [line for line in page(results).splitlines() if "own best settings** (" in line]
    return found


def test_an_order_that_turns_round_is_said_with_both_tests(tmp_path: Path) -> None:
    write(tmp_path, "first", 0.9, 0.9, 1e-3)
    write(tmp_path, "second", 0.7, 0.99, 1e-2)
    said = sentence(tmp_path)
    assert "own: 3 tries each; equal: one and the same) second is best in place of first" in said
    assert "of 1 pair of models 1 changes its order, 1 of these by more than chance both ways" in said
    assert "second against first (−20.00 [" in said and "; then +9.00 [" in said
    assert "Each model against itself, on the same pictures: second +29.00 [" in said
    assert said.endswith("no change beyond chance for first.")
    assert "it chose learning rate 0.01, weight decay 0" in page(tmp_path)


def test_an_order_that_stays_and_one_that_noise_may_turn_are_said_so(tmp_path: Path) -> None:
    write(tmp_path, "first", 0.9, 0.91, 1e-3)
    write(tmp_path, "second", 0.5, 0.55, 1e-2)
    assert "first stays best; of 1 pair of models none changes its order." in sentence(tmp_path)
    write(tmp_path, "third", 0.52, 0.54, 1e-2)
    assert "of 3 pairs of models 1 changes its order, none of these by more than chance both ways" in sentence(tmp_path)


def test_models_that_were_level_have_not_changed_places(tmp_path: Path) -> None:
    write(tmp_path, "first", 0.8, 0.85, 1e-3)
    write(tmp_path, "second", 0.8, 0.9, 1e-2)
    assert "second is best, level with first under one of them; of 1 pair of models none" in sentence(tmp_path)


def test_only_equal_settings_are_held_beside_the_tuned_ones(tmp_path: Path) -> None:
    write(tmp_path, "first", 0.9, 0.91, 1e-3)
    other = {**EQUAL, "train": {"epochs": 4}}
    write_trial(tmp_path, "first", answers(0.5, 400), protocol="longer", settings=other)
    write_trial(tmp_path, "second", answers(0.5, 400), protocol="longer", settings=other)
    (effort,) = efforts(read_comparisons(tmp_path)[0])
    assert (effort.equal.name, effort.tuned.name, effort.pairs, [gain.model for gain in effort.gains]) == (
        "equal", "own", 0, ["first"],
    )  # fmt: skip


@pytest.mark.slow
def test_where_tuning_changes_nothing_a_gain_is_seldom_claimed(tmp_path: Path) -> None:
    """Both of a model's results are of the same share of pictures, drawn anew: any gain is a false alarm."""
    alarms, rounds = 0, 100
    for number in range(rounds):
        folder = tmp_path / str(number)
        for place, name in enumerate(("one", "two", "three")):
            for protocol, settings in (("equal", EQUAL), ("own", TUNED)):
                seed = 1000 * number + 10 * place + (protocol == "own")
                write_trial(folder, name, answers(0.8, 400, seed), protocol=protocol, settings=settings)
        (effort,) = efforts(read_comparisons(folder)[0])
        alarms += any(gain.change.outcome != "tie" for gain in effort.gains)
    assert alarms <= 2 * LEVEL * rounds

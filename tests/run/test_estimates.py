"""How long a run takes: by earlier trials of this machine and no other's, and until the last one ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records.record import Record, write_record
from bench.request import Forecast, TrialSpec
from bench.run.estimates import (
    NOTHING,
    Estimate,
    earlier,
    from_forecast,
    from_records,
    longest_first,
    makespan,
    session_seconds,
)
from bench.run.outlook import Outlook, said

HERE = {"device": "Some CPU", "device_kind": "cpu", "threads": 2, "precision": "fp32", "torch": "2.13"}


@pytest.fixture
def spec(tiny_trial: Callable[..., TrialSpec]) -> TrialSpec:
    return replace(tiny_trial("train.epochs=3"), counts={"train": 1000, "val": 100, "test": 200})


@pytest.fixture
def ran(spec: TrialSpec, make_record: Callable[..., Record]) -> Callable[..., Record]:
    """`ran(seconds=…)`: a record of that very trial, with three epochs of 3 s each in 9.5 of 12.5 s; parts replaced."""

    def make(**changes: Any) -> Record:
        assert spec.known is not None
        record = make_record("tiny")
        record.model = spec.known.model_copy()
        record.protocol.settings, record.protocol.fingerprint = spec.protocol.settings(), spec.protocol.fingerprint
        record.data.train, record.data.val, record.data.test = 1000, 100, 200
        record.environment, record.seconds = dict(HERE), 12.5
        assert record.training is not None
        record.training = record.training.model_copy(update={"seconds": 9.5, "epochs": 3})
        return record.model_copy(update=changes)

    return make


def test_several_trials_like_it_say_what_it_takes_and_how_far_they_were_apart(
    spec: TrialSpec, ran: Callable[..., Record]
) -> None:
    found = from_records(spec, [ran(seconds=10.0), ran(seconds=12.0), ran(seconds=11.0)], HERE)
    assert (found.seconds, found.basis) == (11.0, "3 earlier trials")
    assert found.share == pytest.approx(1 / 11) and found.memory == 345_600_000
    assert from_records(spec, [ran()], HERE).share == 0.1


def test_one_of_other_length_is_drawn_out(spec: TrialSpec, ran: Callable[..., Record]) -> None:
    longer = replace(
        spec,
        protocol=spec.protocol.model_copy(update={"train": spec.protocol.train.model_copy(update={"epochs": 30})}),
    )
    found = from_records(longer, [ran()], HERE)
    assert found.seconds == pytest.approx(10 * 9.5 + 3.0) and found.basis == "1 earlier trial of other length"
    more = replace(spec, counts={"train": 4000, "val": 400, "test": 200})
    assert from_records(more, [ran()], HERE).seconds == pytest.approx(4 * 9.5 + 3.0)


def test_what_ran_elsewhere_otherwise_or_in_pieces_says_nothing(spec: TrialSpec, ran: Callable[..., Record]) -> None:
    pieces = ran()
    assert pieces.training is not None
    pieces.training = pieces.training.model_copy(update={"warm_up_epochs": [1, 2]})
    other = ran()
    other.model = other.model.model_copy(update={"code": "another"})
    larger = ran()
    settings = {**larger.protocol.settings}
    settings["train"] = {**settings["train"], "batch_size": 999}
    larger.protocol = larger.protocol.model_copy(update={"settings": settings, "fingerprint": "q" * 64})
    for record in (pieces, other, larger, ran(environment={**HERE, "device": "Another CPU"}), ran(environment=None)):
        assert from_records(spec, [record], HERE) is NOTHING
    assert from_records(spec, [ran()], {**HERE, "sharing": 2}) is NOTHING


def test_earlier_trials_are_looked_for_in_all_of_a_results_folder(tmp_path: Path, ran: Callable[..., Record]) -> None:
    for place in ("one/tiny/seed0", "two/tiny/seed5", "two/other/seed0"):
        write_record(tmp_path / place, ran())
    (tmp_path / "two" / "tiny" / "seed6").mkdir()
    (tmp_path / "two" / "tiny" / "seed6" / "record.json").write_text("{")
    assert {model: len(found) for model, found in earlier(tmp_path, ["tiny", "more"]).items()} == {"tiny": 2, "more": 0}


def test_what_was_measured_is_no_surer_than_it_is() -> None:
    assert from_forecast(Forecast(10, 5.0, 0.1)) == Estimate(5.0, 0.2, 10, "a few measured steps", 0.1)
    assert from_forecast(Forecast(10, None)).basis == "a count of its tensors"
    assert from_forecast(Forecast(None, None)).basis == NOTHING.basis


def test_a_session_takes_so_long_for_each_series_or_a_few_rounds_of_slow_models() -> None:
    assert session_seconds(3, 2, 0.5) == 3 * 12.0
    assert session_seconds(3, 10, 0.5) == 3 * 30.0
    assert session_seconds(3, 4, 9.0) == pytest.approx(12 * 9.0 + 12 * 3.0 + 12.0)


# Until all is done


@given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=60), st.integers(1, 20))
def test_the_longest_first_end_within_four_thirds_of_what_is_possible(seconds: list[float], slots: int) -> None:
    """Graham's bound (1969): 4/3 - 1/(3m) times the best schedule, which no machine can beat."""
    ends = makespan(sorted(seconds, reverse=True), slots)
    assert ends >= max(sum(seconds) / slots, max(seconds)) * (1 - 1e-9)
    # The best schedule takes at least that; of more than one trial a slot, at least two of the shortest of the longest.
    least = max(sum(seconds) / slots, max(seconds))
    if len(seconds) > slots:
        long = sorted(seconds, reverse=True)
        least = max(least, long[slots - 1] + long[slots])
    assert ends <= least * (4 / 3 - 1 / (3 * slots)) * (1 + 1e-9) or ends <= sum(seconds) / slots + max(seconds)
    assert makespan(seconds, 1) == pytest.approx(sum(seconds))


def outlook(specs: list[TrialSpec], *estimates: Estimate, slots: int = 1, memory: int | None = None) -> Outlook:
    return Outlook(Path("results/quick"), 2, list(zip(specs, estimates, strict=True)), slots, 12.0, memory)


def test_a_run_s_first_line_says_how_long_it_takes_of_what_is_known(spec: TrialSpec) -> None:
    known, other = Estimate(600.0, 0.1, 10, "2 earlier trials"), Estimate(300.0, 0.2, 10, "a few measured steps")
    second = replace(spec, seed=1)
    both = outlook([spec, second], known, other, slots=2)
    assert both.seconds == 612.0 and both.share == pytest.approx((60 + 60) / 900)
    assert both.line == "takes about 10 min (± 13%), by earlier trials: 2 trials"
    half = outlook([spec, second], known, NOTHING)
    assert half.line == "takes about 10 min (± 10%), by earlier trials: 1 trial, and 1 of which nothing is known yet"
    asked = replace(both, uncounted=("robustness",))
    assert asked.line == "takes about 10 min (± 13%), and what measuring robustness takes, by earlier trials: 2 trials"
    assert outlook([spec], NOTHING).line == ""


def test_what_will_not_fit_is_said(spec: TrialSpec) -> None:
    large = Estimate(None, 0.0, 30_000_000_000, "a count of its tensors")
    (line,) = outlook([spec], large, memory=24_000_000_000).too_large
    assert line.startswith("tiny will not fit: a training step takes 30.0 GB, the device has 24.0 GB")
    assert outlook([spec], large, memory=80_000_000_000).too_large == []


def test_the_longest_begins_first_where_all_are_known(spec: TrialSpec) -> None:
    specs = [replace(spec, seed=seed) for seed in range(3)]
    estimates = {("tiny", seed): Estimate(seconds, 0.1, None, "") for seed, seconds in enumerate((1.0, 3.0, 2.0))}
    assert [one.seed for one in longest_first(specs, estimates)] == [1, 2, 0]
    assert longest_first(specs, estimates | {("tiny", 0): NOTHING}) == specs


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59.6, "60 s"), (100, "2 min"), (5399, "90 min"), (9000, "2.5 h")]
)
def test_an_estimate_is_said_no_more_exactly_than_it_is(seconds: float, words: str) -> None:
    assert said(seconds) == words

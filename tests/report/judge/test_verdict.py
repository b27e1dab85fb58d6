"""A verdict says better or worse only where that is more than chance, else which of a tie and unknown it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import answers, write_trial

from bench.records.comparison import read_comparisons
from bench.records.median import median_interval
from bench.records.quantities import BY_KEY
from bench.report.judge.dominance import beats, front
from bench.report.judge.intervals import estimate
from bench.report.judge.paired import holm
from bench.report.judge.verdict import Verdict, Verdicts

TOP1, LATENCY, GMACS, F1 = (BY_KEY[key] for key in ("accuracy", "latency_ms", "gmacs", "macro_f1"))


def verdicts(results: Path) -> Verdicts:
    (comparison,), damaged = read_comparisons(results)
    assert not damaged
    return Verdicts.of(comparison)


def of(found: Verdicts, key: str, a: str, b: str) -> Verdict:
    """Of model A against model B, by their names."""
    names = [contender.model for contender in found.contenders]
    return found.on(BY_KEY[key]).between(names.index(a), names.index(b))


def test_an_accuracy_is_better_where_the_corrected_test_on_the_same_pictures_says_so(tmp_path: Path) -> None:
    right = answers(0.9, 400)
    for name, lost in (("good", 0), ("near", 4), ("fair", 12), ("bad", 150)):
        write_trial(tmp_path, name, right & (np.cumsum(right) > lost))
    found = verdicts(tmp_path)
    assert [of(found, "accuracy", "good", other).outcome for other in ("near", "fair", "bad")] == [
        "tie", "better", "better",
    ]  # fmt: skip
    # McNemar: all `lost` pictures are one model's, which happens twice in 2^lost; six pairs, Holm.
    pairs = [(4, 2), (12, 2), (150, 2), (8, 2), (146, 2), (138, 2)]
    corrected = holm([ways / 2**lost for lost, ways in pairs])
    assert of(found, "accuracy", "good", "near").p == pytest.approx(corrected[0])
    assert of(found, "accuracy", "good", "fair").p == pytest.approx(corrected[1])
    assert of(found, "accuracy", "near", "good").outcome == "tie"
    assert of(found, "accuracy", "bad", "good").value == pytest.approx(-37.5)


def test_without_predictions_or_a_common_seed_an_accuracy_is_unknown(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.9))
    write_trial(tmp_path, "b", answers(0.3), predictions=False)
    write_trial(tmp_path, "c", answers(0.3), seed=5)
    found = verdicts(tmp_path)
    assert (of(found, "accuracy", "a", "b").outcome, of(found, "accuracy", "a", "b").reason) == (
        "unknown", "no predictions",
    )  # fmt: skip
    assert of(found, "accuracy", "a", "c").reason == "no common seed"


def test_seeds_that_contradict_the_means_say_nothing(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.4), seed=0)
    write_trial(tmp_path, "a", answers(0.99), seed=1)
    write_trial(tmp_path, "b", answers(0.6), seed=0)
    found = verdicts(tmp_path)
    assert [one.model for one in found.contenders] == ["a", "b"]
    assert of(found, "accuracy", "a", "b").outcome in ("unknown", "tie")


def test_counts_are_exact_and_tie_where_they_print_alike(tmp_path: Path) -> None:
    for name, macs in (("a", 1_000_000_000), ("b", 1_000_000_400), ("c", 1_002_000_000)):
        write_trial(tmp_path, name, efficiency={"macs": macs})
    found = verdicts(tmp_path)
    assert of(found, "gmacs", "a", "b") == Verdict("tie", pytest.approx(-4e-7), reason="printed alike")
    assert (of(found, "gmacs", "a", "c").outcome, of(found, "gmacs", "c", "b").outcome) == ("better", "worse")
    assert of(found, "gmacs", "a", "c").p is None
    assert of(found, "trainable", "a", "c").outcome == "tie"


def test_a_score_is_tested_over_three_common_seeds_and_no_fewer(tmp_path: Path) -> None:
    for seed in range(3):
        write_trial(tmp_path, "a", seed=seed, accuracy={"macro_f1": 0.90 + 0.001 * seed})
        write_trial(tmp_path, "b", seed=seed, accuracy={"macro_f1": 0.80 + 0.002 * seed})
    write_trial(tmp_path, "c", accuracy={"macro_f1": 0.1})
    found = verdicts(tmp_path)
    assert of(found, "macro_f1", "a", "b").outcome == "better"
    assert of(found, "macro_f1", "a", "b").seeds == 3
    # Student's t of 0.100, 0.099, 0.098: half of the interval is 4.303 × 0.001 / √3.
    low, high = of(found, "macro_f1", "a", "b").low, of(found, "macro_f1", "a", "b").high
    assert (low, high) == pytest.approx((0.099 - 0.002484, 0.099 + 0.002484), abs=1e-5)
    assert of(found, "macro_f1", "a", "c").reason == "no test with fewer than 3 common seeds"


def test_what_one_of_the_two_lacks_is_unknown(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    write_trial(tmp_path, "b", efficiency=None)
    for key in ("gmacs", "latency_ms", "energy"):
        assert of(verdicts(tmp_path), key, "a", "b") == Verdict("unknown", reason="not measured")


verdict = st.builds(
    Verdict, st.sampled_from(["better", "worse", "tie", "unknown"]), st.floats(0.1, 10), st.floats(0.1, 10),
    st.floats(0.1, 10), st.floats(0, 1), st.integers(0, 9), st.just(""), st.booleans(),
)  # fmt: skip


@given(verdict)
def test_turning_a_verdict_twice_changes_nothing(one: Verdict) -> None:
    again = one.turned().turned()
    assert (again.outcome, again.p, again.ratio) == (one.outcome, one.p, one.ratio)
    assert (again.value, again.low, again.high) == pytest.approx((one.value, one.low, one.high))


# Times that trials took by themselves.


def test_trials_without_an_interval_span_from_the_lowest_to_the_highest(tmp_path: Path) -> None:
    for seed, seconds in enumerate((2.0, 8.0)):
        write_trial(tmp_path, "a", seed=seed, training={"seconds_to_best": seconds})
    value = estimate(BY_KEY["seconds_to_best"], verdicts(tmp_path).contenders[0])
    assert value is not None
    assert (value.mean, value.low, value.high) == pytest.approx((4.0, 2.0, 8.0))


def test_rounds_give_an_interval_by_order_statistics_from_six_on() -> None:
    assert median_interval([3, 1, 2, 5, 4]) is None
    assert median_interval([3, 1, 2, 5, 4, 9]) == (1, 9)
    assert median_interval(range(1, 18)) == (5, 13)  # of 17: the fifth and the thirteenth, 95.1 %


def test_epochs_but_the_first_give_a_trials_time_an_interval_that_holds_its_mean(tmp_path: Path) -> None:
    seconds = BY_KEY["epoch_seconds"]
    for name, epochs in (("a", [9.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]), ("b", [1.0] * 6)):
        write_trial(tmp_path, name, training={"epoch_seconds": epochs})
    a, b = (estimate(seconds, contender) for contender in verdicts(tmp_path).contenders)
    assert a is not None and b is not None
    assert a.mean == pytest.approx(1.25)
    assert (a.low, a.high) == pytest.approx((1.0, 1.5))  # order statistics of six
    assert (b.low, b.high) == (None, None)  # five epochs after the first are too few


# Who beats whom.


def test_a_lead_that_may_be_chance_beats_nobody(tmp_path: Path) -> None:
    write_trial(tmp_path, "good", answers(0.9))
    write_trial(tmp_path, "near", answers(0.89))
    write_trial(tmp_path, "bad", answers(0.4))
    found = verdicts(tmp_path)
    axes = [found.on(TOP1), found.on(GMACS)]
    assert not beats(axes, 0, 1)  # a tie, at the same cost
    assert beats(axes, 0, 2)
    assert front(found, GMACS, TOP1).on == (0, 1)


shares = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9]), st.integers(1, 4)), min_size=1, max_size=5)


@given(shares)
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(
    tmp_path_factory: pytest.TempPathFactory, models: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.mktemp("results")
    for number, (share, cost) in enumerate(models):
        write_trial(folder, f"m{number}", answers(share, 100), efficiency={"macs": cost * 10**9})
    found = verdicts(folder)
    axes, places = [found.on(GMACS), found.on(TOP1)], range(len(models))
    beaten = {b for b in places if any(beats(axes, a, b) for a in places if a != b)}
    on = front(found, GMACS, TOP1)
    if len(models) > 1:
        assert set(on.on) == set(places) - beaten
    assert not any(beats(axes, a, b) and beats(axes, b, a) for a in places for b in places if a != b)

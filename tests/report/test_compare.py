"""compare says what is better or worse beyond tolerance and noise, and refuses what must not be compared."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import answers, write_failure, write_trial

from bench import RequestError
from bench.records.quantities import BY_KEY
from bench.report.judge.compare import (
    JUDGED,
    POINTS,
    SHARE,
    Change,
    Compared,
    compare,
    difference_interval,
    judge,
    parse_tolerances,
)  # fmt: skip
from bench.report.judge.intervals import Estimate
from bench.report.tables.answers import compare_text

LATENCY, TOP1 = BY_KEY["latency_ms"], BY_KEY["accuracy"]


def latency(p50: float, half: float = 0.1) -> dict[str, Any]:
    return {"latency_ms": {"p50": p50, "ci95": [p50 - half, p50 + half]}}


def only(results: Path, *tolerance: str, a: str = "a", b: str = "b") -> Compared:
    (found,), _ = compare(a, b, results=results, tolerance=tolerance)
    return found


def change(found: Compared, key: str) -> Change:
    (one,) = [one for one in found.changes if one.quantity.key == key]
    return one


def test_differences_are_b_minus_a_with_intervals_and_outcomes(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.6), efficiency=latency(10))
    write_trial(tmp_path, "b", answers(0.9), efficiency=latency(12))
    found = only(tmp_path)
    top1, slower = change(found, "accuracy"), change(found, "latency_ms")
    assert (top1.difference, top1.outcome) == (pytest.approx(30), "better")
    assert top1.low is not None
    assert 15 < top1.low < 30
    assert (slower.difference, slower.outcome, found.worse) == (pytest.approx(2), "worse", True)
    assert (slower.low, slower.high) == pytest.approx((2 - math.sqrt(0.02), 2 + math.sqrt(0.02)))
    assert change(found, "gmacs").outcome == "same"
    assert change(found, "val_accuracy").outcome == "not judged"


def test_what_noise_explains_is_not_worse(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", efficiency=latency(10, half=2))
    write_trial(tmp_path, "b", efficiency=latency(12, half=2))
    assert change(only(tmp_path), "latency_ms").outcome == "same"
    assert not only(tmp_path).worse


def test_named_quantities_are_judged_alone(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.9))
    write_trial(tmp_path, "b", answers(0.5), efficiency=latency(11))
    assert not only(tmp_path, "latency_ms=0.2").worse
    assert only(tmp_path, "latency_ms=0.2,accuracy=0.5").worse
    assert [one.quantity.key for one in only(tmp_path, "latency_ms=0.2").changes if one.outcome != "not judged"] == [
        "latency_ms"
    ]


def test_accuracy_without_predictions_has_no_interval(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.9), predictions=False)
    write_trial(tmp_path, "b", answers(0.89), predictions=False)
    top1 = change(only(tmp_path), "accuracy")
    assert (top1.low, top1.outcome) == (None, "worse")


@given(st.floats(1, 100), st.floats(1, 100), st.floats(0, 0.5))
def test_better_is_the_mirror_of_worse(a: float, b: float, share: float) -> None:
    mirror = {"better": "worse", "worse": "better", "same": "same"}
    for low, high in ((None, None), (b - a - 1, b - a + 1)):
        # The same allowance both ways: that of A's value.
        flipped = (None, None) if low is None or high is None else (-high, -low)
        one = judge(LATENCY, a, b, low, high, share * a)
        assert judge(LATENCY, b, a, *flipped, share * a) == mirror[one]
        assert judge(TOP1, a, b, low, high, share * a) == mirror[one]


def test_the_tolerance_itself_is_tolerated() -> None:
    assert judge(LATENCY, 10, 10.5, None, None, 0.05 * 10) == "same"
    assert judge(LATENCY, 10, 10.51, None, None, 0.05 * 10) == "worse"
    assert judge(TOP1, 80, 79.5, None, None, 0.5) == "same"


def test_an_interval_of_a_difference_is_wider_than_either() -> None:
    a, b = Estimate(10, 9, 12, (10,)), Estimate(20, 17, 21, (20,))
    assert difference_interval(a, b) == pytest.approx((10 - math.hypot(3, 2), 10 + math.hypot(1, 1)))
    assert difference_interval(a, Estimate(20, None, None, (20,))) == (None, None)


def test_tolerances_are_shares_or_points() -> None:
    assert parse_tolerances([]) == {key: POINTS if key == "accuracy" else SHARE for key in JUDGED}
    assert parse_tolerances(["0.1"]) == {key: POINTS if key == "accuracy" else 0.1 for key in JUDGED}
    assert parse_tolerances(["latency_ms=0.1, accuracy=1", "ece=0"]) == {"latency_ms": 0.1, "accuracy": 1, "ece": 0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("much", "write NUMBER, or QUANTITY=NUMBER"),
        ("-0.1", "a number of 0 or more"),
        ("nan", "a number of 0 or more"),
        ("=1", "write NUMBER"),
        ("latency=1", "did you mean latency_ms? the quantities are accuracy,"),
        ("best_epoch=1", "unknown quantity 'best_epoch'"),
    ],
)
def test_a_tolerance_that_cannot_be_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_tolerances([text])
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_folders_are_compared_model_by_model(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for seed in (0, 1, 2):
        write_trial(before, "m", answers(0.9, seed=seed), seed=seed)
        write_trial(after, "m", answers(0.6, seed=seed), seed=seed)
    write_trial(before, "gone")
    write_trial(after, "new")
    write_trial(after, "m", protocol="other", settings={"train": {"epochs": 9}})
    found, notes = compare(str(before), str(after), results=tmp_path)
    assert [(one.comparison, one.a.model, one.b.model) for one in found] == [("quick", "m", "m")]
    assert change(found[0], "accuracy").outcome == "worse"
    assert notes == [
        "quick: gone only in the first", "quick: new only in the second", f"other: only in {after}",
    ]  # fmt: skip


def test_a_folder_against_itself_is_the_same(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_trial(tmp_path, "m", answers(0.9, seed=seed), seed=seed)
    (found,), notes = compare(str(tmp_path), str(tmp_path), results=tmp_path, tolerance=["0"])
    assert ({one.outcome for one in found.changes}, notes) == ({"same", "not judged"}, [])


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    write_trial(before, "m", settings={"train": {"epochs": 3, "batch_size": 8}, "seeds": [0]})
    write_trial(after, "m", settings={"train": {"epochs": 9, "batch_size": 8}, "seeds": [1]}, data="cifar10")
    with pytest.raises(RequestError) as refusal:
        compare(str(before), str(after), results=tmp_path)
    said = str(refusal.value)
    assert "train.epochs 3 / 9, data digits (" in said
    assert "/ cifar10 (" in said
    assert "batch_size" not in said
    assert "seeds" not in said


def test_models_under_other_protocols_are_refused(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", protocol="one", settings={"train": {"epochs": 3}})
    write_trial(tmp_path, "b", protocol="two", settings={"train": {"epochs": 4}})
    with pytest.raises(RequestError, match=r"never run under one protocol on one data; they differ in train\.epochs"):
        compare("a", "b", results=tmp_path)


def test_several_comparisons_need_a_name(tmp_path: Path) -> None:
    for protocol in ("one", "two"):
        for model in ("a", "b"):
            write_trial(tmp_path, model, protocol=protocol)
    with pytest.raises(RequestError, match="choose one with --protocol: one, two"):
        compare("a", "b", results=tmp_path)
    (found,), _ = compare("a", "b", results=tmp_path, protocol="two")
    assert found.comparison == "two"
    with pytest.raises(RequestError, match="unknown protocol 'twoo': did you mean two"):
        compare("a", "b", results=tmp_path, protocol="twoo")


@pytest.mark.parametrize(
    ("a", "says"),
    [("vgg", "unknown model 'vgg': did you mean vgg19? the results have b, vgg19; it is no folder of results either")],
)
def test_a_model_that_was_never_run_is_refused(a: str, says: str, tmp_path: Path) -> None:
    write_trial(tmp_path, "vgg19")
    write_trial(tmp_path, "b")
    with pytest.raises(RequestError) as refusal:
        compare(a, "b", results=tmp_path)
    assert str(refusal.value) == says


def test_a_results_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such results folder"):
        compare("a", "b", results=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="no records of trials"):
        compare("a", "b", results=tmp_path / "empty")


def test_a_failure_where_there_was_none_is_worse(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    write_failure(tmp_path, "b")
    found = only(tmp_path)
    assert found.worse
    assert found.problem == "b: 1 of 1 trials failed (oom: no memory left)"
    assert not only(tmp_path, a="b", b="a").worse
    assert "worse: quick, a → b: b: 1 of 1 trials failed" in compare_text([found], [])


def test_what_is_judged_but_no_longer_measured_does_not_pass(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    write_trial(tmp_path, "b", efficiency=None)
    found = only(tmp_path, "latency_ms=0.1")
    assert found.worse
    assert found.problem == "b: not measured in B, but in A: latency_ms"
    assert not only(tmp_path, "accuracy=1").worse


def test_other_machines_and_seeds_are_noted(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", environment={"device": "One CPU"})
    write_trial(tmp_path, "b", seed=7, environment={"device": "Other CPU"})
    found = only(tmp_path)
    assert found.notes == ("seeds differ: [0] against [7]", "machines differ: One CPU against Other CPU")


def test_the_text_has_a_row_a_quantity_and_a_last_line_that_says_what_is_worse(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", efficiency=latency(10))
    write_trial(tmp_path, "b", efficiency=latency(20))
    text = compare_text([only(tmp_path)], ["a note"])
    (row,) = [line for line in text.splitlines() if line.startswith("latency (ms)")]
    assert row.split() == [
        "latency",
        "(ms)",
        "10.00",
        "20.00",
        "+10.00",
        "[+9.86,",
        "+10.14]",
        "+100.0%",
        "5.0%",
        "worse",
    ]
    assert "a note" in text
    assert text.splitlines()[-1] == "worse: quick, a → b: latency_ms"

"""compare says what is better or worse beyond tolerance and noise, and refuses what must not be compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import answers, write_failure, write_session, write_trial

from bench import RequestError
from bench.records.quantities import BY_KEY, QUANTITIES
from bench.report.judge.change import Change, Compared
from bench.report.judge.compare import POINTS, SHARE, TIME_SHARE, compare, parse_tolerances
from bench.report.judge.verdict import Verdict
from bench.report.tables.answers import compare_text

LATENCY, TOP1 = BY_KEY["latency_ms"], BY_KEY["accuracy"]


def timed(results: Path, a: float, b: float, **more: Any) -> None:
    """A session over a and b, in milliseconds."""
    write_session(results / "quick", {"a": a, "b": b}, **more)


def only(results: Path, *tolerance: str, a: str = "a", b: str = "b", times: bool = False) -> Compared:
    (found,), _ = compare(a, b, results=results, tolerance=tolerance, times=times)
    return found


def seeds(results: Path, model: str, share: float, count: int = 3, pictures: int = 200, **more: Any) -> None:
    """Trials of a model that get that share right, each seed on pictures of its own."""
    for seed in range(count):
        write_trial(results, model, answers(share, pictures, seed=seed), seed=seed, **more)


def change(found: Compared, key: str) -> Change:
    (one,) = [one for one in found.changes if one.quantity.key == key]
    return one


def test_counts_and_accuracy_over_seeds_close_the_gate_and_times_where_asked(tmp_path: Path) -> None:
    seeds(tmp_path, "a", 0.9)
    seeds(tmp_path, "b", 0.6, efficiency={"macs": 2_000_000_000})
    timed(tmp_path, 10, 50)
    found = only(tmp_path)
    assert {one.quantity.key: one.outcome for one in found.changes if one.worse} == {
        "accuracy": "worse", "gmacs": "worse",
    }  # fmt: skip
    assert change(found, "params").outcome == "not worse"
    assert change(found, "latency_ms").outcome is None and change(found, "latency_ms").verdict.outcome == "worse"
    slower = change(only(tmp_path, times=True), "latency_ms")
    assert (slower.difference, slower.outcome) == (pytest.approx(40), "worse")
    assert slower.tolerance == pytest.approx(TIME_SHARE * 10)
    assert change(found, "epoch_seconds").outcome is None
    assert (found.outcome, only(tmp_path, a="b", b="a").outcome) == ("worse", "not worse")


def test_one_seed_closes_the_gate_only_where_no_other_seed_could_make_it_up(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.9, 2000))
    write_trial(tmp_path, "b", answers(0.87, 2000))  # McNemar says: these two trained models differ
    write_trial(tmp_path, "c", answers(0.7, 2000))
    found = change(only(tmp_path), "accuracy")
    assert (found.verdict.outcome, found.outcome) == ("worse", "cannot tell")
    assert found.decides == "more seeds, 3 at least: 1 in common say nothing of what seeds do"
    assert change(only(tmp_path, b="c"), "accuracy").outcome == "worse"
    assert change(only(tmp_path, a="c", b="a"), "accuracy").outcome == "cannot tell"


def test_not_worse_needs_an_interval_without_a_loss_beyond_the_tolerance(tmp_path: Path) -> None:
    for seed in range(3):
        right = answers(0.9, 2000, seed=seed)
        write_trial(tmp_path, "a", right, seed=seed)
        write_trial(tmp_path, "b", np.where(np.arange(2000) == seed, True, right), seed=seed)  # one more right
    seeds(tmp_path, "c", 0.9, pictures=2000)
    assert change(only(tmp_path), "accuracy").outcome == "not worse"
    write_trial(tmp_path, "d", answers(0.9, 2000, seed=7), seed=0)
    write_trial(tmp_path, "d", answers(0.88, 2000, seed=8), seed=1)
    open_one = change(only(tmp_path, b="d"), "accuracy")
    assert open_one.outcome == "cannot tell"
    assert re.fullmatch(r"about ([\d,]+ test pictures and )?[\d,]+ seeds of each", open_one.decides)
    assert change(only(tmp_path, "accuracy=50", b="d"), "accuracy").outcome == "not worse"


def test_without_a_common_seed_it_cannot_be_told(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.9))
    write_trial(tmp_path, "b", answers(0.1), seed=7)
    found = only(tmp_path)
    assert (found.outcome, change(found, "accuracy").decides) == (
        "cannot tell", "the same seeds of both, with their predictions",
    )  # fmt: skip


def test_a_slower_model_whose_times_scatter_cannot_be_told(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    write_trial(tmp_path, "b")
    timed(tmp_path, 10, 12, own={"b": 0.3})
    found = change(only(tmp_path, "latency_ms=0.1"), "latency_ms")
    assert (found.verdict.outcome, found.outcome, found.decides) == ("tie", "cannot tell", "more timing sessions")


def test_what_was_disturbed_never_closes_the_gate_and_is_named(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    write_trial(tmp_path, "b")
    timed(tmp_path, 10, 90, others=1.5)
    found = only(tmp_path, "latency_ms=0.1")
    assert (change(found, "latency_ms").verdict.reason, found.outcome) == ("disturbed", "cannot tell")
    first = compare_text([found], []).splitlines()[0]
    assert first.startswith("cannot tell: quick, a → b: latency_ms; what would decide: disturbed: `python -m bench")


def test_named_quantities_are_judged_alone(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.9))
    write_trial(tmp_path, "b", answers(0.5))
    timed(tmp_path, 10, 11)
    assert not only(tmp_path, "latency_ms=0.2").worse
    assert only(tmp_path, "latency_ms=0.2,accuracy=0.5").worse
    judged = [one.quantity.key for one in only(tmp_path, "latency_ms=0.2").changes if one.tolerance is not None]
    assert judged == ["latency_ms"]


def test_accuracy_without_predictions_is_unknown(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.9), predictions=False)
    write_trial(tmp_path, "b", answers(0.5), predictions=False)
    top1 = change(only(tmp_path), "accuracy")
    assert (top1.verdict.outcome, top1.verdict.reason) == ("unknown", "no predictions")
    assert not only(tmp_path).worse


@given(st.floats(1, 100), st.floats(1, 100), st.floats(0, 0.5), st.floats(0, 0.1))
def test_the_gate_closes_one_way_at_most_and_never_on_what_is_not_worse(
    a: float, b: float, share: float, width: float
) -> None:
    for quantity in (LATENCY, TOP1):
        better = (b > a) == (quantity.better == "higher")
        value = b / a if quantity is LATENCY else b - a
        low, high = (
            (value / (1 + width), value * (1 + width)) if quantity is LATENCY else (value - width, value + width)
        )
        outcome = "tie" if a == b else "better" if better else "worse"
        verdict = Verdict(outcome, value, low, high, 0.001, 1, ratio=quantity is LATENCY, seeds=3)
        ways = [
            Change(quantity, a, b, verdict, share * a), Change(quantity, b, a, verdict.turned(), share * a),
        ]  # fmt: skip
        assert [one.worse for one in ways].count(True) == (abs(a - b) > share * a * (1 + 1e-9))
        assert not any(one.outcome == "not worse" and one.most_loss > share * a * (1 + 1e-6) for one in ways)


def test_the_tolerance_itself_is_tolerated_and_what_is_not_judged_has_no_outcome() -> None:
    worse = Verdict("worse", 1.05, 1.04, 1.06, 0.001, 1, ratio=True)
    assert not Change(LATENCY, 10, 10.5, worse, 0.05 * 10).worse
    assert Change(LATENCY, 10, 10.51, worse, 0.05 * 10).worse
    assert not Change(LATENCY, 10, 10.51, worse, 0.05 * 10, tests=100).worse  # p is corrected for as many tests
    points = Verdict("worse", -0.5, -0.6, -0.4, 0.001, 1, seeds=3)
    assert not Change(TOP1, 80, 79.5, points, 0.5).worse
    assert Change(LATENCY, 10, 99, worse, None).outcome is None


def test_tolerances_are_shares_or_points() -> None:
    judged = [quantity for quantity in QUANTITIES if quantity.judged and quantity.kind != "time"]
    assert parse_tolerances([], QUANTITIES) == {one: POINTS if one is TOP1 else SHARE for one in judged}
    assert parse_tolerances(["0.1"], QUANTITIES) == {one: POINTS if one is TOP1 else 0.1 for one in judged}
    with_times = parse_tolerances([], QUANTITIES, times=True)
    assert {one.key for one in with_times if one not in judged} == {"latency_ms", "throughput", "step_ms"}
    assert with_times[LATENCY] == TIME_SHARE
    named = {LATENCY: 0.1, TOP1: 1, BY_KEY["macro_f1"]: 0}
    assert parse_tolerances(["latency_ms=0.1, accuracy=1", "macro_f1=0"], QUANTITIES) == named


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
        parse_tolerances([text], QUANTITIES)
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
    assert change(found[0], "accuracy").verdict.outcome == "worse"
    assert notes == [
        "quick: gone only in the first", "quick: new only in the second", f"other: only in {after}",
    ]  # fmt: skip


def test_several_protocols_are_corrected_for_as_well(tmp_path: Path) -> None:
    for folder, share in (("before", 0.9), ("after", 0.5)):
        for protocol in ("one", "two"):
            seeds(tmp_path / folder, "m", share, protocol=protocol)
    found, _ = compare(str(tmp_path / "before"), str(tmp_path / "after"), results=tmp_path)
    assert [change(one, "accuracy").tests for one in found] == [2, 2]
    assert [change(one, "accuracy").outcome for one in found] == ["worse", "worse"]


def test_a_folder_against_itself_is_the_same(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_trial(tmp_path, "m", answers(0.9, seed=seed), seed=seed)
    (found,), notes = compare(str(tmp_path), str(tmp_path), results=tmp_path, tolerance=["0"])
    assert (found.outcome, notes) == ("not worse", [])
    assert {one.verdict.outcome for one in found.changes} <= {"tie", "unknown"}


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


def test_a_models_options_may_be_written_in_any_order(tmp_path: Path) -> None:
    for model in ("m:a=1,b=2", "m"):
        write_trial(tmp_path, model)
    (found,), _ = compare("m", "m:b=2,a=1", results=tmp_path)
    assert found.b.model == "m:a=1,b=2"


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
    found = only(tmp_path, "gmacs=0.1")
    assert found.worse
    assert found.problem == "b: not measured in B, but in A: gmacs"
    assert not only(tmp_path, "accuracy=1").worse


def test_other_machines_and_seeds_are_noted(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", environment={"device": "One CPU"})
    write_trial(tmp_path, "b", seed=7, environment={"device": "Other CPU"})
    found = only(tmp_path)
    assert found.notes == ("seeds differ: [0] against [7]", "machines differ: device One CPU / Other CPU")


def test_the_text_says_the_outcome_first_and_has_a_row_a_quantity(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    write_trial(tmp_path, "b")
    timed(tmp_path, 10, 50)
    text = compare_text([only(tmp_path, times=True)], ["a note"])
    (row,) = [line for line in text.splitlines() if line.startswith("latency (ms)")]
    assert re.fullmatch(
        r"latency \(ms\) +10\.00 +50\.00 +× 5 \[[\d.]+, [\d.]+\] +\+400\.0% +[\d.e-]+ +10\.0% +worse", row.strip()
    )
    assert "a note" in text
    assert text.splitlines()[0] == "worse: quick, a → b: latency_ms"
    assert text.splitlines()[1].startswith("cannot tell: quick, a → b: accuracy; what would decide: more seeds")


def test_a_model_that_is_worse_within_its_tolerance_passes_and_is_said_to_be_worse(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    write_trial(tmp_path, "b", model={"params": 2_040_000})
    found = only(tmp_path)
    assert (change(found, "params").verdict.outcome, found.worse) == ("worse", False)
    assert "worse, within tolerance" in compare_text([found], [])


def test_a_model_is_no_better_and_no_worse_than_itself(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", answers(0.6))
    (one,), _ = compare("a", "a", results=tmp_path)
    assert {change.verdict.outcome for change in one.changes} == {"tie"}
    assert not one.worse

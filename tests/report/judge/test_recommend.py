"""recommend gives the models within the limits, best first, why the others are not, and the nearest of these."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import answers, write_failure, write_session, write_trial

from bench import RequestError
from bench.report.judge.recommend import Recommendation, parse_limit, recommend
from bench.report.tables.answers import recommend_text


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Large (95 %, 30 ms, 400 MB), middling (90 %, 12 ms, 200 MB), small (70 %, 4 ms, 50 MB), one that failed."""
    for model, share, megabytes in (("large", 0.95, 400), ("middling", 0.9, 200), ("small", 0.7, 50)):
        write_trial(tmp_path, model, answers(share), efficiency={"memory": {"train_peak": megabytes * 1e6}})
    write_failure(tmp_path, "huge")
    write_session(tmp_path / "quick", {"large": 30.0, "middling": 12.0, "small": 4.0}, share=0.1)
    return tmp_path


def found(results: Path, *limits: str) -> Recommendation:
    """`found(results, "max latency_ms=20", …)`."""
    least = [limit.removeprefix("min ") for limit in limits if limit.startswith("min ")]
    most = [limit.removeprefix("max ") for limit in limits if limit.startswith("max ")]
    return recommend(results, least=least, most=most)[0]


def test_models_within_the_limits_come_best_first(results: Path) -> None:
    answer = found(results, "max latency_ms=20")
    assert [one.model for one in answer.chosen] == ["middling", "small"]
    assert answer.nearest is None


def test_what_is_a_tie_with_the_first_in_accuracy_is_said(results: Path) -> None:
    write_trial(results, "middling", answers(0.93))
    answer = found(results, "max params=3")
    assert [one.model for one in answer.chosen] == ["large", "middling", "small"]
    outcomes = [one.against_first.outcome if one.against_first else None for one in answer.chosen]
    assert outcomes == [None, "tie", "worse"]
    text = recommend_text(answer)
    assert "tie: within noise, p = " in text
    assert "worse: more than chance, p < 0.0001" in text
    assert answer.to_json()["recommended"][2]["accuracy_against_first"]["outcome"] == "worse"


def test_each_other_model_is_left_out_with_every_reason(results: Path) -> None:
    answer = found(results, "max latency_ms=20", "max memory=0.3GB", "min accuracy=0.8")
    reasons = {one.model: one.reasons for one in answer.left_out}
    assert [one.model for one in answer.chosen] == ["middling"]
    assert reasons == {
        "small": ("test top-1 (%) is 70.00, 10.00 (12.5%) below 80",),
        "large": ("latency (ms) is 30.00, 10.00 (50.0%) above 20", "peak MB is 400, 100 (33.3%) above 300"),
        "huge": ("no trial ended well (oom: no memory left)",),
    }
    assert list(reasons) == ["small", "large", "huge"]  # nearest first


def test_where_none_is_within_the_nearest_is_named(results: Path) -> None:
    answer = found(results, "min accuracy=93%", "max latency_ms=25")
    assert answer.chosen == ()
    assert answer.nearest is not None
    assert answer.nearest.model == "middling"  # 3 % below; large is 20 % above
    text = recommend_text(found(results, "min accuracy=93%", "max latency_ms=1"))
    assert "no model is within all limits" in text
    assert "nearest: small: test top-1 (%) is 70.00" in text


def test_the_limit_itself_is_within(results: Path) -> None:
    assert [one.model for one in found(results, "max latency_ms=12", "min accuracy=90").chosen] == ["middling"]


def test_noise_across_a_limit_is_said(results: Path) -> None:
    answer = found(results, "max latency_ms=12.5")
    doubts = {one.model: one.doubts for one in (*answer.chosen, *answer.left_out)}
    assert doubts["middling"] == ("the 95 % interval of latency (ms) reaches across 12.5: [10.80, 13.20]",)
    assert doubts["small"] == ()
    assert "middling: the 95 % interval" in recommend_text(answer)


def test_what_was_not_measured_leaves_out_and_is_no_near_miss(results: Path) -> None:
    answer = found(results, "max energy=1")
    assert answer.chosen == ()
    assert {one.reasons for one in answer.left_out if one.model != "huge"} == {("J/image was not measured",)}
    assert answer.nearest is None
    assert "nearest:" not in recommend_text(answer)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("accuracy=80%", 80), ("accuracy=0.8", 80), ("accuracy=80", 80), ("accuracy=1", 100), ("accuracy=.5", 50),
        ("macro_f1=0.8", 0.8), ("macro_f1=80%", 0.8), ("memory=1GB", 1000), ("memory=500MB", 500), ("memory=500", 500),
        ("memory=1GiB", 1073.741824), ("latency_ms=20", 20), ("latency_ms=20ms", 20), ("latency_ms=0.02 s", 20),
        ("epoch_seconds=2min", 120), ("params=5M", 5), ("params=1G", 1000), ("gmacs=500M", 0.5), ("energy=5mJ", 0.005),
        ("overfitting=-1.5", -1.5), ("throughput=1e3", 1000),
    ],
)  # fmt: skip
def test_limits_are_read_in_the_units_that_people_write(text: str, bound: float) -> None:
    assert parse_limit(text, "max").bound == pytest.approx(bound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("latency=20", "unknown quantity 'latency': did you mean latency_ms? the quantities are accuracy,"),
        ("zzzzzz=1", "unknown quantity 'zzzzzz': the quantities are accuracy, val_accuracy"),
        ("latency_ms", "write QUANTITY=NUMBER"),
        ("latency_ms=fast", "write QUANTITY=NUMBER"),
        ("latency_ms=nan", "write QUANTITY=NUMBER"),
        ("latency_ms=1e999", "the number is too large"),
        ("latency_ms=20GB", "has no unit 'GB': use ms, s or a plain number"),
        ("throughput=20ms", "has no unit 'ms': use a plain number"),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_limit(text, "max")
    assert says in str(refusal.value)


@given(st.text(max_size=20))
def test_any_text_is_a_limit_or_refused(text: str) -> None:
    try:
        parse_limit(text, "min")
    except RequestError as refusal:
        assert "the quantities are" in str(refusal) or "QUANTITY=NUMBER" in str(refusal)


def test_no_limit_and_several_comparisons_are_refused(results: Path) -> None:
    with pytest.raises(RequestError, match="name a limit"):
        recommend(results)
    write_trial(results, "m", protocol="other")
    write_session(results / "other", {"m": 10.0})
    with pytest.raises(RequestError, match="choose one with --protocol: other, quick"):
        found(results, "max latency_ms=20")
    answer, _ = recommend(results, most=["latency_ms=20"], protocol="other")
    assert [one.model for one in answer.chosen] == ["m"]

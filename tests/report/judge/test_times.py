"""Times compare where sessions timed both models side by side, quietly; then by their ratio, sessions as clusters."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from made import answers, write_session, write_trial

from bench.records.comparison import read_comparisons
from bench.records.quantities import BY_KEY
from bench.records.sessions import Level
from bench.report.judge.dominance import front
from bench.report.judge.intervals import estimate
from bench.report.judge.times import ALONE, LEAST, NEVER, combined
from bench.report.judge.verdict import Verdict, Verdicts

LATENCY, TOP1 = BY_KEY["latency_ms"], BY_KEY["accuracy"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Trials of a, b and c, best first."""
    for name, share in (("a", 0.9), ("b", 0.6), ("c", 0.3)):
        write_trial(tmp_path, name, answers(share))
    return tmp_path / "quick"


def verdicts(folder: Path) -> Verdicts:
    ((one,), damaged) = read_comparisons(folder.parent)
    assert not damaged
    return Verdicts.of(one)


def of(folder: Path, a: str, b: str, key: str = "latency_ms") -> Verdict:
    found = verdicts(folder)
    places = {one.model: place for place, one in enumerate(found.contenders)}
    return found.on(BY_KEY[key]).between(places[a], places[b])


def test_the_ratio_of_one_session_is_known_as_well_as_its_blocks_and_what_two_copies_differ_by(folder: Path) -> None:
    write_session(folder, {"a": 12.0, "b": 10.0, "c": 10.0}, share=0.3)  # whatever moves all models moves no ratio
    found = of(folder, "a", "b")
    reach = 1.959964 * LEAST
    assert (found.value, found.outcome, found.ratio) == (pytest.approx(1.2), "worse", True)
    assert (found.low, found.high) == pytest.approx((1.2 * math.exp(-reach), 1.2 * math.exp(reach)))
    assert of(folder, "b", "c").outcome == "tie"


def test_blocks_that_scatter_widen_it(folder: Path) -> None:
    write_session(folder, {"a": 12.0, "b": 10.0}, own={"a": 0.1})
    found = of(folder, "a", "b")
    assert found.low is not None and found.high is not None
    assert found.low < 1.2 * 0.9 and found.high > 1.2 * 1.1


def test_sessions_add_up_and_narrow_the_interval(folder: Path) -> None:
    for number in range(4):
        write_session(folder, {"a": 12.0, "b": 10.0}, settings={"number": number})
    shutil.copy(folder / "timing/4.json", folder / "timing/5.json")  # the same session again says nothing new
    found = of(folder, "a", "b")
    assert found.value is not None and found.high is not None
    assert math.log(found.high / found.value) == pytest.approx(1.959964 * LEAST / 2)


def test_what_sessions_differ_by_is_pooled_over_the_models(folder: Path) -> None:
    write_session(folder, {"a": 10.0, "b": 10.0, "c": 10.0})
    write_session(folder, {"a": 11.0, "b": 10.0, "c": 10.0})
    found = of(folder, "b", "c")
    # Two-way analysis of variance of the logarithms: what is neither the model's nor the session's own.
    move = math.log(1.1)
    rest = sum(part**2 for part in (move / 3, move / 3, move / 6, move / 6, move / 6, move / 6))
    between = 2 * rest / 2
    assert found.high is not None
    assert math.log(found.high) == pytest.approx(1.959964 * math.sqrt(between / 2))


def test_a_time_is_the_median_of_its_blocks_and_of_sessions_their_geometric_mean(folder: Path) -> None:
    write_session(folder, {"a": 9.0, "b": 1.0}, share=0.1)
    write_session(folder, {"a": 16.0, "b": 1.0}, share=0.1)
    value = estimate(LATENCY, verdicts(folder).contenders[0])
    assert value is not None
    assert (value.mean, value.low, value.high) == pytest.approx((12.0, 8.1, 17.6))
    assert value.values == pytest.approx((9.0, 16.0))


def test_a_disturbed_session_gives_a_value_and_nothing_else(folder: Path) -> None:
    write_session(folder, {"a": 10.0, "b": 1.0, "c": 2.0}, others=1.0)
    found = verdicts(folder)
    standing = found.on(LATENCY)
    assert all("other processes were at work in 12 of 12 blocks" in why for why in standing.disturbed)
    assert [(one.low, one.high) for one in standing.values if one] == [(None, None)] * 3
    assert {standing.between(a, b).reason for a in range(3) for b in range(3) if a != b} == {"disturbed"}
    assert front(found, LATENCY, TOP1).on == ()


def test_a_quiet_session_makes_up_for_a_disturbed_one(folder: Path) -> None:
    write_session(folder, {"a": 50.0, "b": 1.0}, others=1.0)
    write_session(folder, {"a": 20.0, "b": 10.0})
    assert of(folder, "a", "b").value == pytest.approx(2.0)
    assert verdicts(folder).on(LATENCY).disturbed[:2] == ["", ""]


def test_what_no_session_has_timed_together_is_unknown(folder: Path) -> None:
    write_session(folder, {"a": 10.0, "b": 90.0})
    write_session(folder, {"b": 90.0, "c": 1.0})
    assert of(folder, "a", "b").outcome == "better"
    assert (of(folder, "a", "c").outcome, of(folder, "a", "c").reason) == ("unknown", NEVER)


def test_times_of_single_trials_have_no_verdict(folder: Path) -> None:
    for key in ("epoch_seconds", "seconds_to_best"):
        assert (of(folder, "a", "b", key).outcome, of(folder, "a", "b", key).reason) == ("unknown", ALONE)


def test_sessions_of_an_older_model_of_another_machine_or_protocol_do_not_count(folder: Path) -> None:
    write_session(folder, {"a": 10.0, "b": 1.0}, environment={"device": "Old CPU"})
    write_session(folder, {"a": 10.0, "b": 1.0}, protocol="f" * 64)
    write_session(folder, {"a": 10.0, "b": 20.0})
    assert of(folder, "a", "b").value == pytest.approx(0.5)
    write_trial(folder.parent, "b", answers(0.6), model={"code": "changed since"})
    assert of(folder, "a", "b").reason == "not measured"


def test_a_damaged_session_is_named_and_left_out(folder: Path) -> None:
    file = write_session(folder, {"a": 10.0, "b": 20.0})
    file.write_text(file.read_text()[:100])
    (one,), (line,) = read_comparisons(folder.parent)
    assert one.sessions == ()
    assert line.startswith(f"{file}: not a timing session") and line.endswith("remove it, or take another one")


def test_two_copies_of_a_model_are_seldom_told_apart() -> None:
    """Sessions move a ratio by as much as is assumed, blocks scatter and hang together."""
    generator, alarms, draws = np.random.default_rng(0), {1: 0, 3: 0}, 1000
    for count in alarms:
        for _ in range(draws):
            sessions = []
            for moved in generator.normal(0, LEAST, count):
                noise = generator.standard_t(3, 14) * 0.01
                sessions.append(Level.of((moved + noise[1:] + 0.5 * noise[:-1]).tolist()))
            found = combined(sessions)
            assert found is not None
            assert (found.p < 0.05) == (not found.low <= 1 <= found.high)
            alarms[count] += found.p < 0.05
    assert max(alarms.values()) / draws < 0.05

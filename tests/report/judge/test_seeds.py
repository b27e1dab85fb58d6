"""How many seeds are enough, and what interval is shown where they were added until it was narrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import write_trial

from bench import RequestError
from bench.records.comparison import comparisons, trials_of
from bench.records.quantities import BY_KEY
from bench.report.judge.intervals import estimate, half_interval
from bench.report.judge.seeds import FEWEST, Until, read_until

ACCURACY = BY_KEY["accuracy"]
TOP1 = st.floats(0, 100)


@given(values=st.lists(TOP1, min_size=FEWEST, max_size=30), half=st.floats(0.1, 50))
def test_what_is_enough_is_shown_no_wider_than_asked(values: list[float], half: float) -> None:
    if Until(ACCURACY, half).narrow(values):
        assert half_interval(values) <= half


@given(values=st.lists(TOP1, max_size=FEWEST - 1))
def test_fewer_than_five_seeds_are_never_enough(values: list[float]) -> None:
    assert not Until(ACCURACY, 100).narrow(values)


def test_the_interval_that_is_shown_covers_as_often_as_it_says() -> None:
    """A few of the draws of benchmarks/until.py, where the rule is put to the hardest test; 95 % ± 1.3 is chance."""
    generator, until, draws, covered = np.random.default_rng(1), Until(ACCURACY, 1.0), 2000, 0
    for _ in range(draws):
        drawn = (2 * generator.standard_normal(20)).tolist()
        count = next((n for n in range(FEWEST, 20) if until.narrow(drawn[:n])), 20)
        covered += abs(np.mean(drawn[:count])) <= max(half_interval(drawn[:count]), until.half)
    assert covered / draws > 0.937


def test_an_interval_that_seeds_were_added_for_is_shown_no_narrower_than_asked(tmp_path: Path) -> None:
    for seed, top1 in enumerate((0.80, 0.81, 0.80, 0.79, 0.80)):
        for model, until in (("asked", {"accuracy": 2.0}), ("chosen", {})):
            write_trial(tmp_path, model, seed=seed, accuracy={"test_top1": top1}, environment={"until": until})
    (comparison,) = comparisons(trials_of(tmp_path / "quick").values())
    shown = {one.model: estimate(ACCURACY, one) for one in comparison.contenders}
    asked, chosen = shown["asked"], shown["chosen"]
    assert asked is not None and chosen is not None
    assert (asked.low, asked.high) == pytest.approx((78, 82))
    assert chosen.high == pytest.approx(80 + half_interval([80, 81, 80, 79, 80]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("acuracy=0.5", "did you mean accuracy"),
        ("latency_ms=0.5", "seeds move accuracy, "),
        ("accuracy", "write accuracy=WIDTH"),
        ("accuracy=-1", "a number above 0"),
        ("accuracy=nan", "a number above 0"),
    ],
)
def test_a_width_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        read_until(text)

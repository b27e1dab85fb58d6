"""Paired comparisons agree with their definitions, written out, and raise no more false alarms than they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.report.judge.paired import agreement, groups, holm, paired_difference

P = st.floats(0, 1)
few = settings(max_examples=40)


@few
@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 30))))
def test_agreement_counts_the_pictures_that_both_got_right(right: np.ndarray) -> None:
    expected = [[sum(x and y for x, y in zip(a, b, strict=True)) for b in right.tolist()] for a in right.tolist()]
    assert agreement(right).tolist() == expected


@few
@given(arrays(bool, st.tuples(st.just(2), st.integers(1, 40))))
def test_one_seed_is_mcnemars_exact_test(right: np.ndarray) -> None:
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    alone = only_a + only_b
    # All outcomes of `alone` fair coins that are no likelier than this one.
    chances = [math.comb(alone, heads) / 2**alone for heads in range(alone + 1)]
    expected = math.fsum(chance for chance in chances if chance <= chances[only_a] * (1 + 1e-9))
    found = paired_difference(agreement(right), right.shape[1], [0], [1])
    assert found.p == pytest.approx(min(expected, 1))
    assert found.value == pytest.approx((only_a - only_b) / right.shape[1])
    assert -1 <= found.low <= found.high <= 1


def test_the_interval_of_one_seed_is_agresti_and_mins() -> None:
    # 100 pictures, 20 of which only A got right and 10 only B.
    right = np.zeros((2, 100), dtype=bool)
    right[0, :20], right[1, 20:30] = True, True
    centre, variance = 10 / 102, (20.5 + 10.5 - 10**2 / 102) / 102**2
    found = paired_difference(agreement(right), 100, [0], [1])
    assert (found.low, found.high) == pytest.approx(
        (centre - 1.959964 * variance**0.5, centre + 1.959964 * variance**0.5), abs=1e-6
    )


def written_out(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard error and degrees of freedom of the two-way analysis of variance, from (seeds, pictures)."""
    d = a.astype(float) - b.astype(float)
    seeds, pictures = d.shape
    mean, by_seed, by_picture = d.mean(), d.mean(1), d.mean(0)
    of_seeds = pictures * ((by_seed - mean) ** 2).sum() / (seeds - 1)
    of_pictures = seeds * ((by_picture - mean) ** 2).sum() / (pictures - 1)
    rest = ((d - by_seed[:, None] - by_picture[None] + mean) ** 2).sum() / ((seeds - 1) * (pictures - 1))
    terms = [(rest, 1.0, (seeds - 1) * (pictures - 1))]
    if of_seeds > rest:
        terms += [(of_seeds, 1.0, seeds - 1), (rest, -1.0, None)]
    if of_pictures > rest:
        terms += [(of_pictures, 1.0, pictures - 1), (rest, -1.0, None)]
    weight_of_rest = sum(weight for square, weight, _ in terms if square == rest)
    total = sum(square * weight for square, weight, _ in terms)
    parts = [(square * weight) ** 2 / df for square, weight, df in terms[1:] if df and weight > 0]
    parts.append((rest * weight_of_rest) ** 2 / ((seeds - 1) * (pictures - 1)))
    return mean, math.sqrt(total / (seeds * pictures)), total**2 / sum(parts)


@pytest.mark.parametrize("seed_effect", [0.0, 0.8])
@pytest.mark.parametrize(("seeds", "pictures"), [(2, 30), (3, 50), (5, 200)])
def test_several_seeds_are_a_two_way_analysis_of_variance(seeds: int, pictures: int, seed_effect: float) -> None:
    from scipy.special import stdtr, stdtrit

    generator = np.random.default_rng(seeds)
    hard = generator.normal(0, 1, pictures)
    a, b = (
        hard + shift + seed_effect * generator.normal(0, 1, (seeds, 1)) + generator.normal(0, 1, (seeds, pictures)) > 0
        for shift in (0.9, 0.2)
    )
    mean, error, degrees = written_out(a, b)
    found = paired_difference(agreement(np.concatenate([a, b])), pictures, range(seeds), range(seeds, 2 * seeds))
    half = stdtrit(degrees, 0.975) * error
    assert (found.value, found.low, found.high) == pytest.approx((mean, max(mean - half, -1), min(mean + half, 1)))
    assert found.p == pytest.approx(2 * stdtr(degrees, -abs(mean) / error))
    assert found.seeds == seeds


@few
@given(arrays(bool, st.tuples(st.just(6), st.integers(2, 20))))
def test_exchanging_the_models_mirrors_the_difference(right: np.ndarray) -> None:
    both, pictures = agreement(right), right.shape[1]
    one = paired_difference(both, pictures, [0, 1, 2], [3, 4, 5])
    other = paired_difference(both, pictures, [3, 4, 5], [0, 1, 2])
    assert (one.value, one.low, one.high, one.p) == pytest.approx((-other.value, -other.high, -other.low, other.p))
    assert one.low - 1e-9 <= one.value <= one.high + 1e-9
    assert 0 <= one.p <= 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_models_that_answer_alike_do_not_differ(seeds: int) -> None:
    right = np.tile(np.arange(50) % 3 == 0, (2 * seeds, 1))
    found = paired_difference(agreement(right), 50, range(seeds), range(seeds, 2 * seeds))
    assert (found.value, found.p) == (0, 1)


def test_seeds_that_differ_by_chance_raise_few_false_alarms() -> None:
    """Two models alike but for chance, whose seeds move them by more than the choice of pictures does."""
    generator, alarms, runs = np.random.default_rng(0), {"several": 0, "one": 0}, 100
    for _ in range(runs):
        hard = generator.normal(0, 1, 1000)
        right = [hard + generator.normal(0, 0.2) + generator.normal(0, 1, 1000) > 0 for _ in range(10)]
        both = agreement(np.array(right))
        alarms["several"] += paired_difference(both, 1000, range(5), range(5, 10)).p < 0.05
        alarms["one"] += paired_difference(both, 1000, [0], [5]).p < 0.05
    assert alarms["several"] / runs < 0.12
    assert alarms["one"] / runs > 0.2  # why one seed says nothing of the models


@given(st.lists(P, max_size=8))
def test_holm_rejects_as_its_stepwise_definition_does(p: list[float]) -> None:
    corrected = holm(p)
    for level in (0.01, 0.05, 0.5):
        rejected: set[int] = set()
        for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[place] * (len(p) - step) > level:
                break
            rejected.add(place)
        assert {place for place, value in enumerate(corrected) if value <= level} == rejected
    assert all(raised >= value for raised, value in zip(corrected, p, strict=True))


@few
@given(st.integers(0, 7), st.data())
def test_groups_are_all_longest_runs_that_are_not_told_apart(count: int, data: st.DataObject) -> None:
    every = list(itertools.combinations(range(count), 2))
    apart = set(data.draw(st.lists(st.sampled_from(every), unique=True))) if every else set()
    fitting = [
        range(start, end)
        for start in range(count)
        for end in range(start + 2, count + 1)
        if not any(pair in apart for pair in itertools.combinations(range(start, end), 2))
    ]
    longest = [run for run in fitting if not any(set(run) < set(other) for other in fitting)]
    assert groups(count, apart) == longest


def test_trials_must_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="as many of A as of B"):
        paired_difference(np.zeros((3, 3)), 10, [0], [1, 2])

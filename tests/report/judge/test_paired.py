"""Paired comparisons agree with their definitions, written out, and raise no more false alarms than they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtr, stdtr, stdtrit

from bench.report.judge.paired import SeedNoise, agreement, holm, paired_difference, seed_noise

P = st.floats(0, 1)
NOISE = SeedNoise(1e-4, 10)
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


def written_out(d: np.ndarray, of_models: tuple[float, float], freedom: int) -> tuple[float, float]:
    """Mean and half of the interval of the differences (seeds, pictures), given each model's variance over seeds."""
    seeds, pictures = d.shape
    mean, by_seed, by_picture = d.mean(), d.mean(1), d.mean(0)
    rest = ((d - by_seed[:, None] - by_picture[None] + mean) ** 2).sum() / ((seeds - 1) * (pictures - 1))
    from_seeds = sum(of_models) / seeds
    from_pictures = by_picture.var(ddof=1) / pictures
    from_pictures -= min(rest / (seeds * pictures), from_seeds, from_pictures)
    t, z = stdtrit(freedom, 0.975), 1.959963984540054
    return mean, math.sqrt(t**2 * from_seeds + z**2 * from_pictures)


@pytest.mark.parametrize("seed_effect", [0.0, 0.8])
@pytest.mark.parametrize(("seeds", "pictures"), [(2, 300), (3, 50), (5, 200)])
def test_several_seeds_count_seeds_and_pictures_as_chance(seeds: int, pictures: int, seed_effect: float) -> None:
    generator = np.random.default_rng(seeds)
    hard = generator.normal(0, 1, pictures)
    a, b, c = (
        hard + shift + seed_effect * generator.normal(0, 1, (seeds, 1)) + generator.normal(0, 1, (seeds, pictures)) > 0
        for shift in (0.9, 0.2, 0.5)
    )
    top1 = np.array([one.mean(1) for one in (a, b, c)])
    noise = seed_noise([dict(enumerate(one)) for one in top1.tolist()])
    assert noise is not None and noise.freedom == 2 * (seeds - 1)
    # Twice a variance of the model by seed table: what two-way analysis of variance calls the interaction.
    table = top1 - top1.mean(1, keepdims=True) - top1.mean(0, keepdims=True) + top1.mean()
    assert noise.variance == pytest.approx((table**2).sum() / noise.freedom)
    both = agreement(np.concatenate([a, b]))
    found = paired_difference(both, pictures, range(seeds), range(seeds, 2 * seeds), noise)
    own = [max(noise.variance, float(one.mean(1).var(ddof=1))) for one in (a, b)]
    mean, half = written_out(a.astype(float) - b.astype(float), (own[0], own[1]), noise.freedom)
    assert (found.value, found.low, found.high) == pytest.approx((mean, max(mean - half, -1), min(mean + half, 1)))
    assert (found.p < 0.05) == (abs(mean) > half)
    assert found.seeds == seeds


def test_p_is_the_level_whose_interval_just_reaches_zero() -> None:
    """With seeds alone it is Student's, with pictures alone the normal distribution's."""
    right = np.zeros((4, 100), dtype=bool)
    right[:2, :60], right[2:, :50] = True, True
    both = agreement(right)
    by_seeds = paired_difference(both, 100, [0, 1], [2, 3], SeedNoise(0.01, 4))
    pictures = right[0].astype(float) - right[2]
    variance = pictures.var(ddof=1) / 100
    error = math.sqrt(0.01 + variance)
    assert 2 * ndtr(-0.1 / error) < by_seeds.p < 2 * stdtr(4, -0.1 / error)
    nearly_none = paired_difference(both, 100, [0, 1], [2, 3], SeedNoise(1e-12, 4))
    assert nearly_none.p == pytest.approx(2 * ndtr(-0.1 / math.sqrt(variance)), rel=1e-3)


def test_noise_is_pooled_over_models_and_what_a_seed_does_to_all_is_none() -> None:
    shared = {0: 0.0, 1: 0.05, 2: 0.1}
    models = [{seed: 0.5 + 0.1 * place + up for seed, up in shared.items()} for place in range(3)]
    noise = seed_noise(models)
    assert noise is not None and noise.variance == pytest.approx(0, abs=1e-15) and noise.freedom == 4
    apart = seed_noise([{0: 0.5, 1: 0.6}, {2: 0.5, 3: 0.6}, {0: 0.9}])  # no seeds in common: each model's own
    assert apart is not None and apart.variance == pytest.approx(0.005) and apart.freedom == 2
    assert seed_noise([{0: 0.5}, {0: 0.6}]) is None


@few
@given(arrays(bool, st.tuples(st.just(6), st.integers(2, 20))))
def test_exchanging_the_models_mirrors_the_difference(right: np.ndarray) -> None:
    both, pictures = agreement(right), right.shape[1]
    one = paired_difference(both, pictures, [0, 1, 2], [3, 4, 5], NOISE)
    other = paired_difference(both, pictures, [3, 4, 5], [0, 1, 2], NOISE)
    assert (one.value, one.low, one.high, one.p) == pytest.approx((-other.value, -other.high, -other.low, other.p))
    assert one.low - 1e-9 <= one.value <= one.high + 1e-9
    assert 0 <= one.p <= 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_models_that_answer_alike_do_not_differ(seeds: int) -> None:
    right = np.tile(np.arange(50) % 3 == 0, (2 * seeds, 1))
    noise = SeedNoise(0.0, 2) if seeds > 1 else None
    found = paired_difference(agreement(right), 50, range(seeds), range(seeds, 2 * seeds), noise)
    assert (found.value, found.p) == (0, 1)


def test_one_seed_says_nothing_of_models() -> None:
    """Two models alike but for chance, whose seeds move them by more than the choice of pictures does."""
    generator, alarms, runs = np.random.default_rng(0), 0, 100
    for _ in range(runs):
        hard = generator.normal(0, 1, 1000)
        right = [hard + generator.normal(0, 0.2) + generator.normal(0, 1, 1000) > 0 for _ in range(2)]
        alarms += paired_difference(agreement(np.array(right)), 1000, [0], [1]).p < 0.05
    assert alarms / runs > 0.2


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


def test_trials_must_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="as many of A as of B"):
        paired_difference(np.zeros((3, 3)), 10, [0], [1, 2])

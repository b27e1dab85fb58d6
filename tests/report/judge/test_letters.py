"""Two models share a letter if, and only if, they cannot be told apart."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from bench.report.judge.letters import letters


@given(st.integers(0, 8), st.data())
def test_two_share_a_letter_exactly_where_they_are_not_told_apart(count: int, data: st.DataObject) -> None:
    every = list(itertools.combinations(range(count), 2))
    apart = set(data.draw(st.lists(st.sampled_from(every), unique=True))) if every else set()
    found = letters(count, apart)
    assert all(found) and len(found) == count
    for a, b in every:
        own, its = (set(re.findall("[a-z]'*", found[place])) for place in (a, b))
        assert bool(own & its) == ((a, b) not in apart)


def test_as_in_a_table_of_a_paper() -> None:
    assert letters(4, {(0, 2), (0, 3), (1, 3)}) == ["a", "ab", "bc", "c"]
    assert letters(3, set()) == ["a", "a", "a"]
    assert letters(3, {(0, 1), (0, 2), (1, 2)}) == ["a", "b", "c"]

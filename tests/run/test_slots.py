"""How many trials run at once, and where: on one device each, or several on one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import RequestError
from bench.data.cache import Stored
from bench.request import Ready, RunOptions
from bench.run.slots import Slots, slots, way


def ready(digits: Stored, *devices: str, threads: int = 8) -> Ready:
    return Ready(digits, {}, devices[0].partition(":")[0], threads, devices)


def test_by_default_every_device_has_one_trial(digits: Stored) -> None:
    assert slots(ready(digits, "cpu"), None) == Slots(("cpu",), 1, 8)
    assert slots(ready(digits, "cuda:0", "cuda:1"), None) == Slots(("cuda:0", "cuda:1"), 1, None)


def test_trials_that_share_a_cpu_share_its_threads_and_their_way_says_so(digits: Stored) -> None:
    two = slots(ready(digits, "cpu"), 2)
    assert two == Slots(("cpu", "cpu"), 2, 4)
    assert str(way(ready(digits, "cpu"), RunOptions(), two)) == "cpu, 4 threads, 2 at once"
    assert slots(ready(digits, "cpu", threads=2), 5).threads == 1


def test_less_than_one_at_once_is_refused(digits: Stored) -> None:
    with pytest.raises(RequestError, match="--jobs 0: at least one"):
        slots(ready(digits, "cpu"), 0)


@given(devices=st.integers(1, 9), jobs=st.integers(1, 64))
def test_no_device_has_two_trials_more_than_another_nor_more_than_is_said(
    devices: int, jobs: int, digits: Stored
) -> None:
    found = slots(ready(digits, *(f"cuda:{number}" for number in range(devices))), jobs)
    each = Counter(found.devices)
    assert sum(each.values()) == jobs
    assert max(each.values()) == found.sharing
    assert max(each.values()) - min(each[f"cuda:{number}"] for number in range(devices)) <= 1

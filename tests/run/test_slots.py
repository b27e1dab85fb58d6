"""How many trials run at once, and where: on one device each, or several on one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import RequestError
from bench.hookspecs import Room
from bench.request import Devices, RunOptions
from bench.run.slots import Slots, slots, way


def devices(*names: str, threads: int = 8) -> Devices:
    return Devices(names[0].partition(":")[0], names, threads)


def test_by_default_every_device_has_one_trial() -> None:
    assert slots(devices("cpu"), None) == Slots(("cpu",), 1, 8)
    assert slots(devices("cuda:0", "cuda:1"), None) == Slots(("cuda:0", "cuda:1"), 1, None)


def test_trials_that_share_a_cpu_share_its_threads_and_their_way_says_so() -> None:
    two = slots(devices("cpu"), 2)
    assert two == Slots(("cpu", "cpu"), 2, 4)
    assert str(way(devices("cpu"), RunOptions(), two)) == "cpu, 4 threads, 2 at once"
    assert slots(devices("cpu", threads=2), 5).threads == 1


def test_less_than_one_at_once_is_refused() -> None:
    with pytest.raises(RequestError, match="--jobs 0: at least one"):
        slots(devices("cpu"), 0)


def test_an_executor_s_room_is_taken_where_the_user_does_not_say_and_no_more_share_a_device_than_run() -> None:
    room = Room(trials=12, sharing=4, threads=2)
    assert slots(devices("cpu"), None, room) == Slots(("cpu",) * 12, 4, 2)
    assert slots(devices("cpu"), 3, room) == Slots(("cpu",) * 3, 3, 2)
    assert slots(devices("cuda:0"), None, Room(8, 1, 1)) == Slots(("cuda:0",) * 8, 1, None)


@given(count=st.integers(1, 9), jobs=st.integers(1, 64))
def test_no_device_has_two_trials_more_than_another_nor_more_than_is_said(count: int, jobs: int) -> None:
    found = slots(devices(*(f"cuda:{number}" for number in range(count))), jobs)
    each = Counter(found.devices)
    assert sum(each.values()) == jobs
    assert max(each.values()) == found.sharing
    assert max(each.values()) - min(each[f"cuda:{number}"] for number in range(count)) <= 1

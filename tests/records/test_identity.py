"""One rule says which trials are the same, and which may be compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.files import trial_folder
from bench.records.comparison import Comparison, Trial, comparisons
from bench.records.identity import differences, identity_of, terms_of, way_of
from bench.records.record import Record

CPU: dict[str, Any] = {"device": "Some CPU", "device_kind": "cpu", "threads": 2, "precision": "fp32", "torch": "2.13"}
GPU: dict[str, Any] = {**CPU, "device": "Some GPU", "device_kind": "cuda"}
COMPILED = {**CPU, "options": {"compile": True, "frozen_prefix": True}}
WITHOUT_CACHE = {**CPU, "options": {"compile": False, "frozen_prefix": False}}
MORE_THREADS = {**CPU, "threads": 4}
Make = Callable[..., Record]


def test_a_record_is_of_the_same_trial_however_often_it_is_made(make_record: Make) -> None:
    one, other = identity_of(make_record(seconds=1.0)), identity_of(make_record(seconds=2.0, started="later"))
    assert one is not None and one == other
    assert one.digest == other.digest
    assert differences(one, other) == []


MODEL = {"name": "m", "plugin": "p", "family": "f", "source": "", "options": {}}
CHANGES: dict[str, dict[str, Any]] = {
    "another seed": {"seed": 1},
    "another protocol": {"protocol": {"name": "quick", "fingerprint": "q" * 64, "settings": {}}},
    "other pictures": {"data": {"name": "digits", "fingerprint": "e", "classes": [], "train": 1, "val": 1, "test": 1}},
    "the plugin's code has changed": {"model": {**MODEL, "code": "abc"}},
    "another options": {"model": {**MODEL, "options": {"width": 8}}},
    "other weights": {"model": {**MODEL, "weights": {"sha256": "ab", "origin": "file"}}},
    "it ran otherwise (cpu, 2 threads / cuda)": {"environment": GPU},
    "it ran otherwise (cpu, 2 threads / cpu, 2 threads, compiled)": {"environment": COMPILED},
    "it ran otherwise (cpu, 2 threads / cpu, 4 threads)": {"environment": MORE_THREADS},
    "it ran otherwise (cpu, 2 threads / cpu, 2 threads, without cached features)": {"environment": WITHOUT_CACHE},
}


@pytest.mark.parametrize("says", CHANGES)
def test_whatever_changes_what_is_shown_makes_another_trial_and_is_named(says: str, make_record: Make) -> None:
    plain, changed = (
        identity_of(make_record(model=MODEL)),
        identity_of(make_record(**{"model": MODEL, **CHANGES[says]})),
    )
    assert plain is not None and changed is not None
    assert plain != changed and plain.digest != changed.digest
    assert differences(plain, changed) == [says]


def test_what_a_plugin_loaded_by_itself_makes_no_other_trial(make_record: Make) -> None:
    loaded = {**MODEL, "weights": {"sha256": "ab", "origin": "plugin"}}
    assert identity_of(make_record(model=loaded)) == identity_of(make_record(model=MODEL))


def test_a_trial_that_died_before_it_was_known_how_it_ran_is_no_trial_to_rely_on(make_record: Make) -> None:
    assert identity_of(make_record(top1=None)) is None
    assert way_of(make_record(top1=None)) is None


def compared(*records: Record) -> list[Comparison]:
    return comparisons([Trial(trial_folder(Path("r/quick"), one.model.name, one.seed), one) for one in records])


@pytest.mark.parametrize("other", [GPU, COMPILED, WITHOUT_CACHE], ids=["cuda", "compiled", "without cache"])
def test_trials_that_ran_in_ways_whose_times_differ_never_share_a_table(
    other: dict[str, Any], make_record: Make
) -> None:
    found = compared(make_record("a"), make_record("b", environment=other))
    assert [len(one.contenders) for one in found] == [1, 1]
    assert len({one.name for one in found}) == 2


def test_trials_on_two_machines_of_one_kind_are_compared(make_record: Make) -> None:
    """Their times are not: see bench/records/machine.py."""
    assert len(compared(make_record("a"), make_record("b", environment=MORE_THREADS))) == 1
    assert not terms_of(make_record()).agree(terms_of(make_record(environment=MORE_THREADS)))


def test_a_trial_that_never_ran_joins_those_it_would_have_been_compared_with(make_record: Make) -> None:
    (one,) = compared(make_record("dead", top1=None), make_record("a"))
    assert {contender.model for contender in one.contenders} == {"dead", "a"}


def test_the_order_in_which_trials_come_decides_nothing(make_record: Make) -> None:
    records = [make_record("a"), make_record("b", environment=COMPILED), make_record("dead", top1=None)]
    assert compared(*records) == compared(*reversed(records))

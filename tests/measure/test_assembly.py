"""The assembly: each measurement is taken by itself, fails by itself, and is entered where its kind belongs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from bench import MeasureSpec, Quantity
from bench.measure import Found, measure
from bench.plugins import Plugin, load_plugins

OWN = Plugin("measurements", "plugins/measurements.py", "", bundled=True)
STRANGE = Plugin("mine", "mine.py", "")
SCORE = Quantity(key="k", label="", about="", path="", kind="score", better=None)


@dataclass
class Releases:
    """A device that notes when memory is given back."""

    told: list[str]

    def release_memory(self) -> None:
        self.told.append("released")


@dataclass
class Named:
    """Enough of a subject for measurements that only look at its name."""

    name: str = "model"
    told: list[str] = field(default_factory=list)

    @property
    def device(self) -> Releases:
        return Releases(self.told)


def found_by(*specs: tuple[MeasureSpec, Plugin], subject: Any = None) -> Found:
    found = Found()
    measure([(subject or Named(), found)], specs)
    return found


def raising(error: BaseException) -> Callable[[Any], Any]:
    def fail(subject: Any) -> Any:
        raise error

    return fail


def test_what_a_bundled_measurement_gives_are_keys_of_efficiency_and_a_stranger_s_its_own_entry() -> None:
    found = found_by(
        (MeasureSpec("macs", lambda subject: {"macs": 5, "flops": 10}), OWN),
        (MeasureSpec("mine", lambda subject: {8: (1, 2)}), STRANGE),
    )
    assert (found.efficiency.macs, found.efficiency.flops, found.efficiency.errors) == (5, 10, None)
    assert found.plugins == {"mine": {"8": [1, 2]}}  # as it is read from the record


def test_a_bundled_measurement_with_a_quantity_of_its_own_is_recorded_as_a_stranger_s() -> None:
    found = found_by((MeasureSpec("own", lambda subject: 5, (SCORE,)), OWN))
    assert found.plugins == {"own": 5}
    assert [quantity.path for quantity in found.quantities] == ["plugins.own"]


def test_paths_of_a_plugin_s_quantities_lead_into_the_record() -> None:
    traits: dict[str, Any] = {"label": "", "about": "", "kind": "time", "better": "lower"}
    deep = Quantity(key="deep", path="all.p50", interval="all.ci95", rounds="each", disturbed="why", **traits)
    plain = Quantity(key="plain", path="", **traits)
    spec = MeasureSpec("mine", lambda subject: {}, (deep, plain))
    one, other = found_by((spec, STRANGE)).quantities
    assert one.path == "plugins.mine.all.p50"
    assert (one.interval, one.rounds, one.disturbed) == (
        "plugins.mine.all.ci95",
        "plugins.mine.each",
        "plugins.mine.why",
    )
    assert (other.path, other.interval) == ("plugins.mine", "")


FAILURES = {
    "raises": (raising(KeyError("lost")), "KeyError: 'lost'"),
    "says more than a line": (raising(ValueError("first\nsecond")), "ValueError: first"),
    "runs out of memory": (raising(torch.OutOfMemoryError("CUDA out of memory")), "OutOfMemoryError: CUDA out of"),
    "exits": (raising(SystemExit(3)), "SystemExit: 3"),
    "gives NaN": (lambda subject: {"macs": float("nan")}, "ValueError"),
    "gives what JSON has not": (lambda subject: {"macs": {1, 2}}, "TypeError"),
}


@pytest.mark.parametrize(("fails", "says"), FAILURES.values(), ids=list(FAILURES))
@pytest.mark.parametrize(
    ("plugin", "quantities"),
    [(OWN, ()), (OWN, (SCORE,)), (STRANGE, (SCORE,))],
    ids=["bundled", "bundled, with a quantity", "a stranger's"],
)
def test_one_that_fails_costs_only_itself_and_its_error_stands_in_its_place(
    fails: Callable[[Any], Any], says: str, plugin: Plugin, quantities: tuple[Quantity, ...]
) -> None:
    found = found_by(
        (MeasureSpec("fails", fails, quantities), plugin),
        (MeasureSpec("works", lambda subject: {"macs": 5}), OWN),
    )
    assert found.efficiency.macs == 5
    assert found.quantities == []
    assert says in str(found.failures["fails"])
    if not quantities:
        assert found.efficiency.errors == {"fails": str(found.failures["fails"])}
    else:
        assert found.plugins == {"fails": {"error": str(found.failures["fails"])}}


def test_a_bundled_value_that_the_record_s_schema_refuses_fails_alone() -> None:
    found = found_by(
        (MeasureSpec("macs", lambda subject: {"macs": -1}), OWN),
        (MeasureSpec("step", lambda subject: {"train_step": {"seconds": 2.0}}), OWN),
    )
    assert found.efficiency.macs is None
    assert set(found.efficiency.errors or {}) == {"macs"}
    assert found.efficiency.train_step is not None


def test_what_filled_the_memory_is_gone_before_the_next_is_measured() -> None:
    subject = Named()
    hoards: list[weakref.ref[Any]] = []

    def hoards_and_fails(subject: Any) -> None:
        hoard = torch.zeros(1000)
        hoards.append(weakref.ref(hoard))
        raise torch.OutOfMemoryError("full")

    def looks(subject: Named) -> Any:
        subject.told.append("measured")
        return hoards[0]() is None

    gc.disable()
    try:
        found = found_by(
            (MeasureSpec("hoards", hoards_and_fails), STRANGE), (MeasureSpec("looks", looks), STRANGE), subject=subject
        )
    finally:
        gc.enable()
    assert found.plugins["looks"] is True
    assert subject.told == ["released", "measured"]


def test_those_measured_together_are_given_all_at_once_and_one_at_fault_costs_no_other() -> None:
    asked: list[list[str]] = []

    def turns(subjects: Sequence[Named]) -> list[int]:
        asked.append([subject.name for subject in subjects])
        if any(subject.name == "bad" for subject in subjects):
            raise RuntimeError("bad")
        return [len(subjects) for _ in subjects]

    spec = MeasureSpec("turns", turns, together=True)
    good: list[tuple[Any, Found]] = [(Named("a"), Found()), (Named("b"), Found())]
    measure(good, [(spec, STRANGE)])
    assert [one.plugins["turns"] for _, one in good] == [2, 2]

    mixed: list[tuple[Any, Found]] = [(Named("a"), Found()), (Named("bad"), Found())]
    measure(mixed, [(spec, STRANGE)])
    assert [one.plugins["turns"] for _, one in mixed] == [1, {"error": "RuntimeError: bad"}]
    assert asked == [["a", "b"], ["a", "bad"], ["a"], ["bad"]]


def test_each_is_told_of_before_it_is_taken() -> None:
    told: list[str] = []
    specs = [(MeasureSpec(name, lambda subject: told.append("taken")), STRANGE) for name in ("one", "two")]
    measure([(Named(), Found())], specs, lambda subject, name: told.append(f"{subject.name} {name}"))  # type: ignore[list-item]
    assert told == ["model one", "taken", "model two", "taken"]


def test_the_bundled_measurements_come_from_a_plugin_like_any_other() -> None:
    registry = load_plugins()
    own = ["macs", "memory", "latency", "throughput", "step", "profile", "energy"]
    assert [name for name, (_, plugin) in registry.measurements.items() if plugin.name == "measurements"] == own
    assert registry.measurements.keys() - own == {"robustness"}

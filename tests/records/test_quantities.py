"""A quantity is one row of pure data, whose path leads into the record; a plugin's is as good as a bundled one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bench.records.comparison import Trial, comparisons
from bench.records.folder import load_records
from bench.records.quantities import BY_KEY, QUANTITIES, UNITS, Quantity, at
from bench.records.record import Record, read_record

COPIES = Path(__file__).parents[1] / "copies"
SCHEMAS = Path(__file__).parent / "schemas"


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.key)
def test_a_quantity_is_pure_data(quantity: Quantity) -> None:
    written = json.loads(json.dumps(dataclasses.asdict(quantity)))
    assert TypeAdapter(Quantity).validate_python(written) == quantity
    assert quantity.unit in UNITS


@pytest.mark.parametrize("key", [one.key for one in QUANTITIES if one.key != "energy" and not one.series])
def test_the_path_of_every_quantity_leads_into_real_records(key: str) -> None:
    """Energy alone has no counter on the machine that made them; times of sessions are in no record."""
    assert any(BY_KEY[key].value(record) is not None for record in load_records(COPIES))


def test_values_stand_in_the_unit_that_is_shown(make_record: Callable[..., Record]) -> None:
    record = make_record(efficiency={
        "macs": 2_500_000_000, "memory": {"inference_peak": {8: 30_000_000, 1: 20_000_000}},
    })  # fmt: skip
    assert BY_KEY["gmacs"].value(record) == 2.5
    assert BY_KEY["inference_memory"].value(record) == 20  # of the smallest batch
    assert BY_KEY["latency_ms"].value(record) is None
    assert BY_KEY["latency_ms"].of_run(0.005, 1) == 5
    assert BY_KEY["throughput"].of_run(0.5, 64) == 128
    assert BY_KEY["epoch_seconds"].value(record) == 3.25  # without the first
    assert BY_KEY["overfitting"].value(record) == 25  # at the second epoch


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.key)
def test_what_was_not_measured_is_none(quantity: Quantity, make_record: Callable[..., Record]) -> None:
    record = make_record(top1=None, seconds=None, model={"name": "m", "plugin": "p", "family": "f", "source": "",
                                                         "options": {}})  # fmt: skip
    assert quantity.value(record) is None
    assert quantity.interval_in(record) is None
    assert quantity.rounds_in(record) == []
    assert quantity.disturbed_in(record) is None


@pytest.mark.parametrize("found", [True, "fast", float("nan"), [1.0], {}])
def test_what_is_no_number_is_no_value(found: object, make_record: Callable[..., Record]) -> None:
    own = Quantity(key="own", label="own", about="", path="plugins.own", kind="score", better=None)
    assert own.value(make_record(plugins={"own": found})) is None


def test_a_path_leads_through_attributes_and_keys(make_record: Callable[..., Record]) -> None:
    record = make_record(plugins={"own": {"deep": {"er": 3}}})
    assert at(record, "plugins.own.deep.er") == 3
    assert at(record, "model.name") == "m"
    assert at(record, "plugins.other.deep") is None


def test_a_plugins_quantity_comes_with_its_record_and_joins_the_comparison() -> None:
    record = read_record(SCHEMAS / "record-2.json")
    (comparison,) = comparisons([Trial(Path("results/quick/vit_tiny/seed0"), record)])
    *bundled, own = comparison.quantities
    assert tuple(bundled) == QUANTITIES
    assert (own.key, own.value(record)) == ("half_ms", 1.5)


def test_a_plugins_quantity_takes_no_bundled_ones_place(make_record: Callable[..., Record]) -> None:
    usurper = {**dataclasses.asdict(BY_KEY["gmacs"]), "path": "plugins.mine"}
    record = make_record(plugins={"mine": 1}, quantities=[usurper])
    (comparison,) = comparisons([Trial(Path("results/quick/m/seed0"), record)])
    assert comparison.quantities == QUANTITIES


@pytest.mark.parametrize(
    ("key", "value", "label", "shown"),
    [
        ("gmacs", 4e6, "GMACs", "0.004"),
        ("gmacs", 4e5, "MMACs", "0.400"),
        ("gmacs", 9536, "MMACs", "0.010"),
        ("gmacs", 12, "kMACs", "0.012"),
        ("params", 1634, "params (k)", "1.63"),
        ("params", 3, "params", "3.00"),
        ("memory", 78e3, "peak kB", "78"),
        ("latency_ms", 0.002, "latency (µs)", "2.00"),
        ("total_seconds", 0.004, "total ms", "4.0"),
        ("energy", 1e-9, "J/image", "0.0000"),  # no smaller unit is known
        ("accuracy", 0.0, "test top-1 (%)", "0.00"),
    ],
)
def test_a_value_that_would_be_printed_as_0_is_shown_in_a_smaller_unit(
    key: str, value: float, label: str, shown: str
) -> None:
    quantity = BY_KEY[key].shown_for([value * BY_KEY[key].scale, 0.0])
    assert (quantity.label, f"{value * quantity.scale:.{quantity.decimals}f}") == (label, shown)
    assert quantity.unit in UNITS

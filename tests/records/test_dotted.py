"""Nested tables under dotted names."""

from __future__ import annotations

from bench.records.dotted import dotted


def test_a_value_stands_under_the_names_that_lead_to_it() -> None:
    assert dict(dotted({"train": {"epochs": 8, "tune": {"rates": [1, 2]}}, "seed": 0})) == {
        "train.epochs": 8,
        "train.tune.rates": [1, 2],
        "seed": 0,
    }


def test_an_empty_table_and_one_that_is_named_are_values() -> None:
    table = {"model": {"options": {"width": 2}, "weights": {}}}
    assert dict(dotted(table, whole={"model.options"})) == {"model.options": {"width": 2}, "model.weights": {}}

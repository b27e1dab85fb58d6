"""A number is said alike wherever it stands."""

from __future__ import annotations

from bench.records.quantities import BY_KEY
from bench.report.text.numbers import number, with_interval

LATENCY = BY_KEY["latency_ms"]


def test_a_number_has_its_quantitys_decimals_and_a_difference_its_sign() -> None:
    assert number(LATENCY, 1234.5) == "1,234.50"
    assert [number(LATENCY, value, sign=True) for value in (0.83, -1.2)] == ["+0.83", "−1.20"]


def test_an_interval_is_said_where_it_is_known_and_prints_as_more_than_a_number() -> None:
    assert with_interval(LATENCY, 2.0, 1.5, 2.5) == "2.00 [1.50, 2.50]"
    assert with_interval(LATENCY, 2.0, None, None) == "2.00"
    assert with_interval(LATENCY, 2.0, 1.999, 2.001) == "2.00"
    assert with_interval(LATENCY, -2.0, -3.0, 1.0, sign=True) == "−2.00 [−3.00, +1.00]"

"""`python -m bench recommend`: which models stay within limits, best first, and why each other one does not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.errors import RequestError, unknown
from bench.records.comparison import Comparison, Contender
from bench.records.quantities import BY_KEY, QUANTITIES, Quantity
from bench.report.judge.choose import comparisons_in, named, only_one
from bench.report.judge.intervals import Estimate, estimate
from bench.report.judge.verdict import Verdict, Verdicts


@dataclass(frozen=True)
class Limit:
    """The least or the most that a quantity may be, in its own unit."""

    quantity: Quantity
    kind: Literal["min", "max"]
    bound: float

    def __str__(self) -> str:
        sign = "≥" if self.kind == "min" else "≤"
        return f"{self.quantity.label} {sign} {self.bound:,g}"

    def kept(self, value: float) -> bool:
        """Whether the value is within the limit; the limit itself is."""
        return value >= self.bound if self.kind == "min" else value <= self.bound

    def miss(self, value: float) -> float:
        """By how much of the bound the value is beyond it; 0 within."""
        return 0.0 if self.kept(value) else abs(value - self.bound) / (abs(self.bound) or 1.0)


@dataclass(frozen=True)
class Candidate:
    """A model held against the limits: why it is left out (nothing where it is not), and by how much it misses."""

    model: str
    values: dict[str, Estimate]  # of the limits' quantities and the accuracy
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]  # within a limit, or beyond it, by less than the interval
    miss: float  # the largest miss of all limits; infinite where a limit cannot be checked
    against_first: Verdict | None = None  # on accuracy, against the first that is recommended; None of that one

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model,
            "values": {
                key: {"mean": one.mean, "ci95": None if one.low is None else [one.low, one.high]}
                for key, one in self.values.items()
            },
            "left_out_because": list(self.reasons),
            "doubts": list(self.doubts),
            "accuracy_against_first": self.against_first.to_json() if self.against_first else None,
        }


@dataclass(frozen=True)
class Recommendation:
    """The models within the limits, best test top-1 first, and the others, nearest to the limits first."""

    comparison: Comparison
    limits: tuple[Limit, ...]
    chosen: tuple[Candidate, ...]
    left_out: tuple[Candidate, ...]

    @property
    def nearest(self) -> Candidate | None:
        """Where no model is within the limits, the one that misses them by the least."""
        if self.chosen or not self.left_out or self.left_out[0].miss == math.inf:
            return None
        return self.left_out[0]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "comparison": self.comparison.name,
            "limits": [{"quantity": one.quantity.key, one.kind: one.bound} for one in self.limits],
            "recommended": [one.to_json() for one in self.chosen],
            "left_out": [one.to_json() for one in self.left_out],
            "nearest_miss": self.nearest.model if self.nearest else None,
        }


def recommend(
    results: Path, *, least: Sequence[str] = (), most: Sequence[str] = (), protocol: str | None = None
) -> tuple[Recommendation, list[str]]:
    """The models of a comparison against `KEY=VALUE` limits, and a line for each damaged record.

    Raises RequestError for a limit that cannot be read, and where it is not clear which comparison is meant.
    """
    if not (least or most):
        raise RequestError("name a limit, such as --max latency_ms=20 or --min accuracy=80%")
    found, damaged = comparisons_in(results)
    comparison = only_one(named(found, protocol, results), results)
    quantities = comparison.quantities
    limits = (
        *(parse_limit(text, "min", quantities) for text in least),
        *(parse_limit(text, "max", quantities) for text in most),
    )
    return choose(comparison, limits), damaged


def choose(comparison: Comparison, limits: Sequence[Limit]) -> Recommendation:
    """Sort the comparison's models into those within the limits and the others."""
    candidates = [_candidate(contender, limits) for contender in comparison.contenders]  # best accuracy first
    chosen = [one for one in candidates if not one.reasons]
    left_out = tuple(sorted((one for one in candidates if one.reasons), key=lambda one: one.miss))
    return Recommendation(comparison, tuple(limits), tuple(_ranked(comparison, chosen)), left_out)


def _ranked(comparison: Comparison, chosen: Sequence[Candidate]) -> Iterator[Candidate]:
    """With what is known of each one's accuracy against the first's."""
    verdicts = Verdicts.of(comparison)
    places = {contender.model: place for place, contender in enumerate(verdicts.contenders)}
    accuracy = verdicts.on(BY_KEY["accuracy"])
    for number, one in enumerate(chosen):
        own, first = places[one.model], places[chosen[0].model]
        yield replace(one, against_first=accuracy.between(own, first)) if number else one


def parse_limit(text: str, kind: Literal["min", "max"], quantities: Sequence[Quantity] = QUANTITIES) -> Limit:
    """`latency_ms=20`, `memory=1GB`, `accuracy=80%` or `accuracy=0.8`: a plain number is in the quantity's unit."""
    key, equals, written = (part.strip() for part in text.partition("="))
    match = re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z%]*)", written)
    if not equals or match is None:
        raise RequestError(f"--{kind} {text}: write QUANTITY=NUMBER, such as latency_ms=20, memory=1GB or accuracy=80%")
    by_key = {quantity.key: quantity for quantity in quantities}
    if key not in by_key:
        hint = str(unknown("quantity", key, by_key, "")).partition("`")[0].strip()
        raise RequestError(f"{hint} the quantities are {', '.join(by_key)}")
    quantity, number, unit = by_key[key], float(match[1]), match[2]
    units = quantity.units
    if unit and unit not in units:
        known = f"use {', '.join(units)} or a plain number" if units else "use a plain number"
        raise RequestError(f"--{kind} {text}: {key} ({quantity.label}) has no unit {unit!r}: {known}")
    bound = number * units[unit] if unit else 100 * number if quantity.unit == "%" and abs(number) <= 1 else number
    if not math.isfinite(bound):
        raise RequestError(f"--{kind} {text}: the number is too large")
    return Limit(quantity, kind, bound)


def _candidate(contender: Contender, limits: Sequence[Limit]) -> Candidate:
    asked = {one.key: one for one in (BY_KEY["accuracy"], *(limit.quantity for limit in limits))}
    values = {key: found for key, one in asked.items() if (found := estimate(one, contender)) is not None}
    if not contender.finished:
        failure = f"no trial ended well ({contender.trials[0].ended})"
        return Candidate(contender.model, values, (failure,), (), math.inf)
    reasons: list[str] = []
    doubts: list[str] = []
    miss = 0.0
    for limit in limits:
        value = values.get(limit.quantity.key)
        if value is None:
            reasons.append(f"{limit.quantity.label} was not measured")
            miss = math.inf
            continue
        if not limit.kept(value.mean):
            reasons.append(_beyond(limit, value.mean))
            miss = max(miss, limit.miss(value.mean))
        doubts += _doubt(limit, value)
    return Candidate(contender.model, values, tuple(reasons), tuple(doubts), miss)


def _beyond(limit: Limit, value: float) -> str:
    decimals, side = limit.quantity.decimals, "below" if limit.kind == "min" else "above"
    gap = f"{abs(value - limit.bound):,.{decimals}f} ({limit.miss(value):.1%})"
    return f"{limit.quantity.label} is {value:,.{decimals}f}, {gap} {side} {limit.bound:,g}"


def _doubt(limit: Limit, value: Estimate) -> Iterator[str]:
    """Where the interval lies on both sides of the limit, noise decided over the model."""
    if value.low is not None and value.high is not None and value.low < limit.bound < value.high:
        decimals = limit.quantity.decimals
        yield (
            f"the 95 % interval of {limit.quantity.label} reaches across {limit.bound:,g}: "
            f"[{value.low:,.{decimals}f}, {value.high:,.{decimals}f}]"
        )

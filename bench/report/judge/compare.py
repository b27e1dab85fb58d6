"""`python -m bench compare A B`: whether B is worse than A, two models or two results folders (see change.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import RequestError, unknown
from bench.records.comparison import Comparison, Contender
from bench.records.identity import terms_of
from bench.records.model_names import known_as
from bench.records.quantities import Quantity, with_plugins
from bench.report.judge.change import Compared, compared_pair
from bench.report.judge.choose import comparisons_in, named, only_one, other_settings
from bench.report.judge.verdict import Verdicts

# Shares of A's value, of times a larger one; percentage points for quantities that are said in these.
SHARE, TIME_SHARE, POINTS = 0.05, 0.1, 0.5


def compare(
    a: str, b: str, *, results: Path, protocol: str | None = None, tolerance: Sequence[str] = (), times: bool = False
) -> tuple[list[Compared], list[str]]:
    """Two results folders, where both are folders, else two models of `results`; and notes on what was left out.

    `times` judges the times of common sessions, too.

    Raises RequestError where nothing can be compared, with the settings that differ where these are the reason.
    """
    if Path(a).is_dir() and Path(b).is_dir():
        return _folders(Path(a), Path(b), protocol, tolerance, times)
    return _models(a, b, results, protocol, tolerance, times)


def parse_tolerances(
    texts: Sequence[str], quantities: Sequence[Quantity], times: bool = False
) -> dict[Quantity, float]:
    """By quantity, what is judged and how much worse it may be: a share, or points for what is said in points.

    `0.1` is the share for all that are judged; `latency_ms=0.1,accuracy=1` judges these two alone. `times` adds those
    of sessions.
    """
    share, own = None, {}
    by_key = {quantity.key: quantity for quantity in quantities if quantity.better is not None}
    for part in (part.strip() for text in texts for part in text.split(",")):
        key, equals, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value < math.inf or (equals and not key):
            raise RequestError(f"--tolerance {part}: write NUMBER, or QUANTITY=NUMBER,…, with a number of 0 or more")
        if not key:
            share = value
        elif key not in by_key:  # no quantity, or one that has no better side
            hint = str(unknown("quantity", key, by_key, "")).partition("`")[0].strip()
            raise RequestError(f"{hint} the quantities are {', '.join(by_key)}")
        else:
            own[by_key[key]] = value

    def allowed(one: Quantity) -> float:
        usual = TIME_SHARE if one.kind == "time" else SHARE
        return POINTS if one.in_points else usual if share is None else share

    wanted = (one for one in by_key.values() if one.judged and (times if one.kind == "time" else True))
    return own or {one: allowed(one) for one in wanted if one.series or one.kind != "time"}


def _models(
    a: str, b: str, results: Path, protocol: str | None, tolerance: Sequence[str], times: bool
) -> tuple[list[Compared], list[str]]:
    found, damaged = comparisons_in(results)
    found = named(found, protocol, results)
    known = sorted({contender.model for one in found for contender in one.contenders})
    a, b = known_as(a, known), known_as(b, known)
    for model in (a, b):
        if model not in known:
            raise RequestError(f"{_no_model(model, known)}; it is no folder of results either")
    both = [one for one in found if {a, b} <= {contender.model for contender in one.contenders}]
    if not both:
        of_a, of_b = (next(c for one in found for c in one.contenders if c.model == model).first for model in (a, b))
        raise RequestError(
            f"{a} and {b} were never run under one protocol on one data; they differ in {_short(of_a, of_b)}"
        )
    one = only_one(both, results)
    by_name = {contender.model: contender for contender in one.contenders}
    tolerances = parse_tolerances(tolerance, one.quantities, times)
    return [compared_pair(one.name, by_name[a], by_name[b], Verdicts.of(one), tolerances, one.quantities)], damaged


def _no_model(model: str, known: Sequence[str]) -> str:
    hint = str(unknown("model", model, known, "")).partition("`")[0].strip()
    return f"{hint} the results have {', '.join(known)}"


def _folders(
    a: Path, b: Path, protocol: str | None, tolerance: Sequence[str], times: bool
) -> tuple[list[Compared], list[str]]:
    """Each comparison of A that B has too, model by model."""
    (of_a, damaged_a), (of_b, damaged_b) = comparisons_in(a), comparisons_in(b)
    of_a, of_b = named(of_a, protocol, a), named(of_b, protocol, b)
    notes = [*damaged_a, *damaged_b]
    compared: list[Compared] = []
    refused: list[str] = []
    matched: set[int] = set()
    for one in of_a:
        same = _same(one, of_b)
        if same is not None:
            matched.add(id(same))
            pairs, missing = _pairs(one, same)
            compared += _all_compared(one.name, pairs, tolerance, times)
            notes += missing
            continue
        namesake = next((other for other in of_b if other.folder.name == one.folder.name), None)
        if namesake is None:
            notes.append(f"{one.name}: only in {a}")
        else:
            matched.add(id(namesake))
            refused.append(f"{one.name} is not the same in both: {_short(one.first, namesake.first)}")
    notes += [f"{other.name}: only in {b}" for other in of_b if id(other) not in matched]
    if refused:
        raise RequestError(f"{'; '.join(refused)} ({a} / {b}); name another with --protocol, or run one of them again")
    if not compared:
        raise RequestError(f"{a} and {b} have no model under the same protocol: {'; '.join(notes)}")
    # Each protocol's pairs are corrected for by themselves: the gate is one for all of them.
    protocols = len({one.comparison for one in compared})
    corrected = [
        replace(one, changes=tuple(replace(change, tests=change.tests * protocols) for change in one.changes))
        for one in compared
    ]
    return corrected, notes


def _same(one: Comparison, others: Sequence[Comparison]) -> Comparison | None:
    """The one of the same protocol and data, run the same way if there is such a one; None without any."""
    terms = terms_of(one.first)
    alike = [other for other in others if terms_of(other.first).agree(replace(terms, way=None))]
    alike.sort(key=lambda other: not terms_of(other.first).compared.agree(terms.compared))
    return alike[0] if alike else None


def _pairs(a: Comparison, b: Comparison) -> tuple[list[tuple[Contender, Contender]], list[str]]:
    in_b = {contender.model: contender for contender in b.contenders}
    pairs = [(contender, in_b[contender.model]) for contender in a.contenders if contender.model in in_b]
    in_a = {contender.model for contender in a.contenders}
    notes = [f"{a.name}: {model} only in the first" for model in sorted(in_a - in_b.keys())]
    notes += [f"{a.name}: {model} only in the second" for model in sorted(in_b.keys() - in_a)]
    return pairs, notes


def _short(a: Any, b: Any, most: int = 6) -> str:
    lines = other_settings(a, b)
    return ", ".join([*lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])])


def _all_compared(
    name: str, pairs: Sequence[tuple[Contender, Contender]], tolerance: Sequence[str], times: bool
) -> Iterator[Compared]:
    """Pairs of models that were run under one protocol, in two folders; p is corrected for these pairs."""
    trials = [trial for pair in pairs for contender in pair for trial in contender.trials]
    quantities = with_plugins(quantity for trial in trials for quantity in trial.record.quantities)
    tolerances = parse_tolerances(tolerance, quantities, times)
    finished = [pair for pair in pairs if pair[0].finished and pair[1].finished]
    contenders = [contender for pair in finished for contender in pair]
    verdicts = Verdicts(contenders, [(at, at + 1) for at in range(0, len(contenders), 2)])
    return (compared_pair(name, a, b, verdicts, tolerances, quantities) for a, b in pairs)

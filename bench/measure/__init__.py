"""The one assembly of measurements, for trials and for `measure` alike: each is taken, and fails, by itself.

What is measured is in the other files, one a quantity; `plugins/measurements.py` gives them to bench as any
plugin gives its own.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.guard import is_the_users
from bench.hookspecs import MeasureSpec, Subject
from bench.plugins import Plugin
from bench.records.efficiency import Efficiency
from bench.records.quantities import Quantity
from bench.records.record import Failure, as_read


@dataclass
class Found:
    """What measuring a model came to, as the record's `efficiency`, `plugins` and `quantities` have it.

    `failures` says why, of each measurement that failed.
    """

    efficiency: Efficiency = field(default_factory=Efficiency)
    plugins: dict[str, Any] = field(default_factory=dict)
    quantities: list[Quantity] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)

    def take(self, spec: MeasureSpec, plugin: Plugin, value: Any) -> None:
        """Enter what the measurement gave: keys of `efficiency`, or its entry in `plugins`."""
        if is_of_efficiency(spec, plugin):
            known = Efficiency.model_validate(value)
            self.efficiency = self.efficiency.model_copy(update={key: getattr(known, key) for key in value})
        else:
            self.plugins[spec.name] = value
            self.quantities += [_placed(quantity, f"plugins.{spec.name}") for quantity in spec.quantities]

    def fail(self, spec: MeasureSpec, plugin: Plugin, failure: Failure) -> None:
        """Enter why the measurement failed."""
        self.failures[spec.name] = failure
        if is_of_efficiency(spec, plugin):
            self.efficiency.errors = (self.efficiency.errors or {}) | {spec.name: str(failure)}
        else:
            self.plugins[spec.name] = {"error": str(failure)}


def is_of_efficiency(spec: MeasureSpec, plugin: Plugin) -> bool:
    """Whether the record's `efficiency` has it: a bundled one whose quantities bench itself names."""
    return plugin.bundled and not spec.quantities


def measure(
    subjects: Sequence[tuple[Subject, Found]],
    specs: Iterable[tuple[MeasureSpec, Plugin]],
    begins: Callable[[Subject, str], None] = lambda subject, name: None,
) -> None:
    """Take every measurement of every subject, in that order, and enter it into what was found of each.

    `begins` is told of each measurement before it is taken. Raises nothing for what goes wrong in one.
    """
    for spec, plugin in specs:
        for group in [subjects] if spec.together else [[one] for one in subjects]:
            for subject, _ in group:
                begins(subject, spec.name)
            _take(spec, plugin, group)


def _take(spec: MeasureSpec, plugin: Plugin, group: Sequence[tuple[Subject, Found]]) -> None:
    """Take one measurement of subjects that are measured together, or of a single one.

    Where it fails of several, each is measured alone, so that the one at fault costs no other.
    """
    subjects = [subject for subject, _ in group]
    try:
        answer = spec.measure(subjects) if spec.together else [spec.measure(subjects[0])]
        values = [as_read(value) for value in answer]
        for (_, found), value in zip(group, values, strict=True):
            found.take(spec, plugin, value)
        return
    except BaseException as error:  # a stranger's measurement must not cost the others
        if is_the_users(error):
            raise
        traceback.print_exc()  # the log; the record has the one line
        failure = Failure.of(error)
    # Only here are the frames gone that hold what filled the memory.
    gc.collect()
    subjects[0].device.release_memory()
    if len(group) == 1:
        group[0][1].fail(spec, plugin, failure)
        return
    for one in group:
        _take(spec, plugin, [one])


def _placed(quantity: Quantity, place: str) -> Quantity:
    """The quantity with paths into the record in place of paths into what its measurement gave, which lies there."""

    def placed(path: str) -> str:
        return f"{place}.{path}" if path else ""

    return replace(
        quantity,
        path=placed(quantity.path) or place,
        interval=placed(quantity.interval),
        rounds=placed(quantity.rounds),
        disturbed=placed(quantity.disturbed),
    )

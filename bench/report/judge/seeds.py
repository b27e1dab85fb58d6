"""How many seeds are enough: so many that the interval of a quantity's mean over seeds is as narrow as was asked.

Looking after each seed whether the interval is narrow makes one stop where the seeds happened to agree, and Student's
interval of what one stopped at covers too rarely: in 90 % of draws in place of 95. So five seeds are the fewest, the
width is computed as if there were three seeds less, and where seeds were added so, no interval narrower than what was
asked for is shown (intervals.py). Then it covers in 94.8 % of draws or more: benchmarks/until.py, docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import RequestError, meant
from bench.records.quantities import QUANTITIES, Quantity
from bench.records.record import Record
from bench.report.judge.intervals import deviation, student

FEWEST = 5
LESS = 3  # by so many seeds fewer the mean is taken to be known


@dataclass(frozen=True)
class Until:
    """Half of the widest interval that will do, of a quantity's mean over seeds, in the unit in which it is shown."""

    quantity: Quantity
    half: float

    def reached(self, records: Sequence[Record]) -> bool:
        """Whether these trials of one model, a seed each, say it so narrowly."""
        return self.narrow([value for one in records if (value := self.quantity.value(one)) is not None])

    def narrow(self, values: Sequence[float]) -> bool:
        """The same of the quantity's values."""
        count = len(values)
        return count >= FEWEST and student(count - 1) * deviation(values) / math.sqrt(count - LESS) <= self.half


def read_until(text: str) -> Until:
    """What `--until accuracy=0.5` means. Raises RequestError for what is no such text."""
    known = {one.key: one for one in QUANTITIES if one.kind in ("accuracy", "score")}
    key, _, width = text.partition("=")
    quantity = known.get(key.strip())
    if quantity is None:
        raise RequestError(f"--until {text}: {meant(key, known)}seeds move {', '.join(known)}")
    try:
        half = float(width)
    except ValueError:
        half = math.nan
    if not 0 < half < math.inf:
        raise RequestError(f"--until {text}: write {key.strip()}=WIDTH, a number above 0 in {quantity.label}")
    return Until(quantity, half)

"""How numbers and names are said, in findings, tables and answers alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.records.quantities import Quantity
from bench.report.judge.intervals import Estimate
from bench.report.text.markup import markdown

LISTED = 20  # the most lines of one kind; what is left out is counted


def number(quantity: Quantity, value: float, sign: bool = False) -> str:
    """`1,234.50`, with the quantity's decimals; with `sign` a difference: `+0.83`, `−1.20`."""
    return f"{value:{'+' if sign else ''},.{quantity.decimals}f}".replace("-", "−")


def with_interval(
    quantity: Quantity, value: float, low: float | None, high: float | None, sign: bool = False, alike: bool = False
) -> str:
    """The number, with its 95 % interval in brackets where one is known, unless its ends are printed alike.

    With `alike` even then.
    """
    text = number(quantity, value, sign)
    if low is None or high is None:
        return text
    ends = number(quantity, low, sign), number(quantity, high, sign)
    return text if ends[0] == ends[1] and not alike else f"{text} [{', '.join(ends)}]"


def estimated(quantity: Quantity, value: Estimate) -> str:
    """The mean with its interval. That two seeds came to the same top-1 is shown: they are not one alone."""
    alike = quantity.kind == "accuracy" and len(value.values) == 2
    return with_interval(quantity, value.mean, value.low, value.high, alike=alike)


def with_unit(quantity: Quantity, value: float) -> str:
    """The number with what the quantity's label says of it: `98.33 % test top-1`, `0.058 GMACs`."""
    name, unit = label_parts(quantity)
    return f"{number(quantity, value)} {unit} {name}" if unit else f"{number(quantity, value)} {name}"


def label_parts(quantity: Quantity) -> tuple[str, str]:
    """The label without its unit, and the unit that it has in brackets, or none."""
    match = re.fullmatch(r"(.*) \((.*)\)", quantity.label)
    return (match[1], match[2]) if match else (quantity.label, "")


def chance(p: float) -> str:
    """A p value as it is said."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def counted(count: int, what: str) -> str:
    """`1 model`, `3 models`."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def listed(names: Sequence[str], most: int = 8) -> str:
    """`a, b and c`; many are cut and counted. Names are escaped."""
    shown = [markdown(name) for name in names]
    if len(shown) > most:
        shown = [*shown[: most - 1], f"{len(shown) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def cut(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    left = len(lines) - LISTED
    return [*lines[:LISTED], *([f"… and {left} more."] if left > 0 else [])]

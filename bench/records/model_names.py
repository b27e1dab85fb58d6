"""Names of models as a user types them: `NAME:key=value,…+EXTENSION:key=value,…`. Text alone: nothing is looked up."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A plus in a number, such as 1e+16, joins nothing.
PLUS = re.compile(r"\+(?=[A-Za-z_])")


def written_options(written: str) -> list[str]:
    """Each `key=value` of `key=value,…`; commas within a list separate nothing."""
    return re.split(r",(?![^\[]*\])", written) if written else []


def in_one_order(name: str) -> str:
    """The name with the options of each part sorted, as a record has it: whoever writes of a model may order them else.

    >>> in_one_order("fdvit_ti:stride=4,mask_weight=0")
    'fdvit_ti:mask_weight=0,stride=4'
    """
    return "+".join(map(_part_in_one_order, PLUS.split(name)))


def is_same(one: str, other: str) -> bool:
    """Whether both name one model, in whatever order its options are written."""
    return in_one_order(one) == in_one_order(other)


def known_as(name: str, known: Iterable[str]) -> str:
    """The known name of that model; `name` itself where none is."""
    return next((one for one in known if is_same(one, name)), name)


def _part_in_one_order(part: str) -> str:
    name, colon, written = part.partition(":")
    return name + colon + ",".join(sorted(written_options(written), key=lambda option: option.partition("=")[0]))

"""What a check is, and how it answers."""

from __future__ import annotations

from collections.abc import Callable

from bench.records.evidence import Evidence, Outcome, Verdict

Check = Callable[[Evidence], Verdict]


def lacks(why: str) -> Check:
    """Of a claim on what bench cannot run at all: not testable, and no command would."""
    return lambda evidence: Verdict("not testable", why)


def answered(holds: bool, numbers: str, otherwise: Outcome = "refuted") -> Verdict:
    return Verdict("confirmed" if holds else otherwise, numbers)

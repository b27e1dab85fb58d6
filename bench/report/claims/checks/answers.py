"""What a check is, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.records.evidence import Evidence, Outcome, Verdict

Check = Callable[[Evidence], Verdict]

# Of several answers the first of these that one gives decides; what could not be tested decides nothing.
GRAVEST: tuple[Outcome, ...] = ("refuted", "not reproduced", "undecided", "other conditions", "confirmed")


def lacks(why: str) -> Check:
    """Of a claim on what bench cannot run at all: not testable, and no command would."""
    return lambda evidence: Verdict("not testable", why)


def each(*checks: Check) -> Check:
    """Of one published sentence that says several things: the gravest answer, with the numbers of all."""
    return lambda evidence: gravest([check(evidence) for check in checks])


def gravest(answers: Sequence[Verdict]) -> Verdict:
    """One answer of several: what the gravest says, with the numbers of all and the commands that are left."""
    outcomes = [answer.outcome for answer in answers]
    outcome: Outcome = next((one for one in GRAVEST if one in outcomes), "not testable")
    return Verdict(
        outcome,
        "; ".join(answer.numbers for answer in answers),
        "\n".join(dict.fromkeys(answer.command for answer in answers if answer.command)),
        tuple(dict.fromkeys(place for answer in answers for place in answer.places)),
    )


def answered(holds: bool, numbers: str, otherwise: Outcome = "refuted", *, places: Sequence[str]) -> Verdict:
    """Confirmed where it holds, else `otherwise`."""
    return Verdict("confirmed" if holds else otherwise, numbers, "", tuple(places))

"""claims.md: each published claim held against the records and measurements of a results folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from bench.guard import guarded, is_the_users
from bench.records.evidence import Claim, Evidence, Outcome, Verdict
from bench.report.artifact import Artifact
from bench.report.claims.published import published_claims
from bench.report.text.markup import markdown

UNCHECKED = "could not be checked"
# As a sceptic reads them: first what did not hold.
ORDER: tuple[Outcome | str, ...] = (
    "refuted", "not reproduced", "undecided", "other conditions", "confirmed", UNCHECKED, "not testable",
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """A claim and what was run says of it; `verdict` is None where its check failed, and `problem` says how."""

    claim: Claim
    verdict: Verdict | None
    problem: str = ""


def artifacts(file: Path, found: Sequence[Judged], problems: Sequence[str]) -> Iterator[Artifact]:
    """claims.md of these; `problems` are lines on claims that cannot be had.

    Claims are judged before, not in `make`: a plugin's check cannot be sent to another process, and its code is among
    what the page follows from. So the page is made from its own text.
    """
    yield Artifact(file, partial(str.encode, page(found, problems)))


def judged(claims: Sequence[Claim], evidence: Evidence) -> list[Judged]:
    """The project's claims, and `claims` beside them, each with its verdict."""
    return judge([*published_claims(), *claims], evidence)


def summary(found: Sequence[Judged]) -> list[str]:
    """How many claims have which verdict, and what those are that did not hold."""
    tried = len(found) - _counts(found).get("not testable", 0)
    if not tried:
        return []
    lines = [f"{tried} of {len(found)} published claims were tested: {_counted(found)} ([claims.md](claims.md))."]
    failed = [one for one in found if _outcome(one) in ("refuted", "not reproduced")]
    return lines + [f"{_outcome(one).capitalize()}: {markdown(one.claim.text)}." for one in failed[:5]]


def judge(claims: Sequence[Claim], evidence: Evidence) -> list[Judged]:
    """Each claim with its verdict; a check that raises is reported as such."""
    judged = []
    for claim in claims:
        try:
            with guarded():
                verdict = claim.check(evidence)
            if not isinstance(verdict, Verdict):
                raise TypeError(f"the check gives {type(verdict).__name__}, not Verdict")
        except BaseException as error:  # a stranger's check may raise anything
            if is_the_users(error):
                raise
            judged.append(Judged(claim, None, f"{type(error).__name__}: {error}"))
        else:
            judged.append(Judged(claim, verdict))
    return judged


def _counts(found: Sequence[Judged]) -> dict[str, int]:
    return {outcome: count for outcome in ORDER if (count := sum(_outcome(one) == outcome for one in found))}


def _counted(found: Sequence[Judged]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in _counts(found).items())


def page(judged: Sequence[Judged], problems: Sequence[str] = ()) -> str:
    """The text of claims.md: by verdict, then by source, and the commands that would test the rest."""
    parts = [
        "# Claims",
        f"Published claims, held against what was run: {_counted(judged)}. Each verdict speaks of these records and "
        "measurements alone. Refuted: ours contradicts it under its own conditions. Not reproduced: ours differs, but "
        "the model is built anew here, or the scale is another. Undecided: the 95 % interval holds both, or seeds are "
        "too few for one. Other conditions: measured only where the source says nothing.",
        *(markdown(problem) for problem in problems),
    ]
    for outcome, count in _counts(judged).items():
        own = [one for one in judged if _outcome(one) == outcome]
        parts.append(f"## {outcome.capitalize()} ({count})")
        for source in dict.fromkeys(one.claim.source for one in own):
            parts += [f"### {markdown(source)}", "\n".join(_line(one) for one in own if one.claim.source == source)]
    commands = list(dict.fromkeys(one.verdict.command for one in judged if one.verdict and one.verdict.command))
    if commands:
        parts += ["## What would test the rest", "\n".join(["```", *commands, "```"])]
    return "\n\n".join(parts) + "\n"


def _outcome(one: Judged) -> str:
    return one.verdict.outcome if one.verdict else UNCHECKED


def _line(one: Judged) -> str:
    if one.verdict is None:
        return f"- {markdown(one.claim.text)}. Its check raised {markdown(one.problem)}."
    places = ", ".join(f"[{markdown(place)}]({quote(place)}/)" for place in one.verdict.places)
    return f"- {markdown(one.claim.text)}. Here: {markdown(one.verdict.numbers)}{f' ({places})' if places else ''}."

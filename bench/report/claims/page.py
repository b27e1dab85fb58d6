"""claims.md: each published claim held against the records and measurements of a results folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from bench.records.evidence import Claim, Evidence, Outcome, Verdict
from bench.report.artifact import Artifact
from bench.report.claims.published import published_claims
from bench.report.text.markup import markdown

ORDER = get_args(Outcome)


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
    counts = _counts(found)
    tried = sum(count for outcome, count in counts.items() if outcome != "not testable")
    if not tried:
        return []
    shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    lines = [f"{tried} of {len(found)} published claims were tested: {shown} ([claims.md](claims.md))."]
    failed = [one for one in found if one.verdict and one.verdict.outcome in ("refuted", "not reproduced")]
    lines += [f"{_outcome(one)[:1].upper()}{_outcome(one)[1:]}: {markdown(one.claim.text)}." for one in failed[:5]]
    return lines


def judge(claims: Sequence[Claim], evidence: Evidence) -> list[Judged]:
    """Each claim with its verdict; a check that raises is reported as such."""
    judged = []
    for claim in claims:
        try:
            verdict = claim.check(evidence)
            if not isinstance(verdict, Verdict):
                raise TypeError(f"the check gives {type(verdict).__name__}, not Verdict")
        except Exception as error:
            judged.append(Judged(claim, None, f"{type(error).__name__}: {error}"))
        else:
            judged.append(Judged(claim, verdict))
    return judged


def _counts(found: Sequence[Judged]) -> dict[str, int]:
    return {outcome: sum(_outcome(one) == outcome for one in found) for outcome in (*ORDER, "could not be checked")}


def page(judged: Sequence[Judged], problems: Sequence[str] = ()) -> str:
    """The text of claims.md: by source, refuted claims first, and the commands that would test the rest."""
    counts = _counts(judged)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    parts = [
        "# Claims",
        f"Published claims, held against what was run: {summary}. Each verdict speaks of these records and "
        "measurements alone. Refuted: ours contradicts it under its own conditions. Not reproduced: ours differs, but "
        "the model is built anew here, or the scale is another. Undecided: the 95 % interval holds both. Other "
        "conditions: measured only where the source says nothing.",
        *(markdown(problem) for problem in problems),
    ]
    for source in dict.fromkeys(one.claim.source for one in judged):
        own = [one for one in judged if one.claim.source == source]
        parts += [f"## {markdown(source)}"]
        lines = [_line(one) for outcome in (*ORDER, "could not be checked") for one in own if _outcome(one) == outcome]
        parts += ["\n".join(lines)]
    commands = list(dict.fromkeys(one.verdict.command for one in judged if one.verdict and one.verdict.command))
    if commands:
        parts += ["## What would test the rest", "\n".join(["```", *commands, "```"])]
    return "\n\n".join(parts) + "\n"


def _outcome(one: Judged) -> str:
    return one.verdict.outcome if one.verdict else "could not be checked"


def _line(one: Judged) -> str:
    answer = f"Here: {one.verdict.numbers}" if one.verdict else f"Its check raised {one.problem}"
    return f"- **{_outcome(one)}**: {markdown(one.claim.text)}. {markdown(answer)}."

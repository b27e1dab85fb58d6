"""claims.md: each published claim held against the records and measurements of a results folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.hookspecs import Claim
from bench.plugins import Registry, load_plugins
from bench.records.comparison import Comparison
from bench.records.evidence import Evidence, Verdict
from bench.records.measurement import read_measurements
from bench.report.artifact import Artifact
from bench.report.claims.published import published_claims
from bench.report.text.markup import markdown

ORDER = ("refuted", "confirmed", "not testable")


@dataclass(frozen=True)
class Judged:
    """A claim and what was run says of it; `verdict` is None where its check failed, and `problem` says how."""

    claim: Claim
    verdict: Verdict | None
    problem: str = ""


def artifacts(results: Path, comparisons: Sequence[Comparison]) -> Iterator[Artifact]:
    """claims.md, where anything was run or measured.

    Claims are judged here, not in `make`: a plugin's check cannot be sent to another process, and its code is among
    what the page follows from. So the digest is that of the text.
    """
    measurements, _ = read_measurements(results / "measure")
    if not comparisons and not measurements:
        return
    claims, problems = collect(load_plugins())
    text = page(judge(claims, Evidence(comparisons, measurements)), problems)
    yield Artifact(results / "claims.md", hashlib.sha256(text.encode()).hexdigest(), partial(str.encode, text))


def collect(registry: Registry) -> tuple[list[Claim], list[str]]:
    """The project's claims and the plugins', and a line for each plugin whose claims cannot be had."""
    claims, problems = list(published_claims()), []
    for hook in registry.manager.hook.bench_claims.get_hookimpls():
        try:
            own = _claims(hook.function())
        except Exception as error:  # a stranger's claims must not cost the others
            problems.append(f"The claims of plugin {hook.plugin_name} are left out: {type(error).__name__}: {error}")
        else:
            claims += own
    return claims, problems


def _claims(answer: Any) -> list[Claim]:
    own = list(answer or ())
    for claim in own:
        if not isinstance(claim, Claim):
            raise TypeError(f"bench_claims gives {type(claim).__name__}, not Claim")
    return own


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


def page(judged: Sequence[Judged], problems: Sequence[str] = ()) -> str:
    """The text of claims.md: by source, refuted claims first, and the commands that would test the rest."""
    counts = {outcome: sum(_outcome(one) == outcome for one in judged) for outcome in (*ORDER, "could not be checked")}
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    parts = [
        "# Claims",
        f"Published claims, held against what was run: {summary}. Each verdict speaks of these records and "
        "measurements alone; a claim that is tested under other conditions than its source's says so.",
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

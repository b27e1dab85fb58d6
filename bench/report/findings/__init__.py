"""findings.md: the answer first, then what must not be concluded, then all that the numbers of each comparison say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.comparison import Comparison, Trial
from bench.report.artifact import Artifact
from bench.report.text.markup import markdown
from bench.report.text.numbers import counted
from bench.report.text.titles import title

if TYPE_CHECKING:
    from bench.report.judge.tuned import Effort

HOW_TO_READ = (
    "Made from the records; nothing is typed by hand. Brackets hold 95 % intervals: of an accuracy or a score over "
    "three seeds or more (Student's t; of two the lowest and the highest), of a top-1 of one seed Wilson's for so many "
    "test pictures, of a time that of its median over blocks of rounds. More than chance is what a test finds at 5 %, "
    "corrected for all pairs of models (Holm): top-1 on the same test pictures, seeds and pictures both as chance; "
    "times by the ratios of timing sessions in which both models took turns; other scores over three common seeds or "
    "more. Models that share a letter cannot be told apart. Points are percentage points."
)


def artifacts(results: Path, comparisons: Sequence[Comparison], claims: Sequence[str] = ()) -> Iterator[Artifact]:
    """findings.md, where there is any comparison; `claims` are lines on published claims."""
    if comparisons:
        yield Artifact(results / "findings.md", partial(make, results, tuple(comparisons), tuple(claims)))


def make(results: Path, comparisons: Sequence[Comparison], claims: Sequence[str] = ()) -> bytes:
    """The content of findings.md."""
    from bench.report.figures.pareto import has_cost
    from bench.report.findings.answer import answer, limits, winners
    from bench.report.findings.extensions import extensions_answer
    from bench.report.findings.tuned import effort_answer
    from bench.report.judge.tuned import efforts
    from bench.report.text.markup import written

    answers = [line for one in comparisons for line in (answer(one), extensions_answer(one)) if line]
    tuned = efforts(comparisons)
    answers += map(effort_answer, tuned)
    parts = ["# Findings", _lines(answers)]
    table = winners(comparisons)
    if table.rows:
        parts.append(written(table, "markdown"))
    if left := list(limits(comparisons)):
        parts += ["## What must not be concluded", _lines(left)]
    if claims:
        parts += ["## Published claims", _lines(claims)]
    parts += ["## Each comparison", *(_figure(results, one) for one in comparisons if has_cost(one, "gmacs"))]
    parts += [
        "<details><summary>How these numbers were made, and how to read them</summary>",
        HOW_TO_READ,
        "</details>",
    ]
    for comparison in comparisons:
        parts += _section(comparison, [one for one in tuned if one.tuned is comparison])
    return ("\n\n".join(parts) + "\n").encode()


def _lines(lines: Iterator[str] | Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _figure(results: Path, comparison: Comparison) -> str:
    """Accuracy against GMACs, as an image that links to the comparison's folder."""
    from bench.report.figures import figure_file

    file = Path(os.path.relpath(figure_file(comparison, "accuracy-gmacs"), results)).as_posix()
    folder = Path(os.path.relpath(comparison.folder, results)).as_posix()
    name = markdown(comparison.name)
    return f'[<img src="{file}" width="420" alt="{name}: test top-1 against GMACs">]({folder}/README.md)'


def _section(comparison: Comparison, tuned: Sequence[Effort]) -> list[str]:
    from bench.report.findings.behaviour import confusion_lines, failure_lines, overfitting_lines, unfinished_lines
    from bench.report.findings.caveats import caveat_lines
    from bench.report.findings.leaders import best_lines, dominance_lines, front_lines, summary_table
    from bench.report.findings.noise import noise_lines
    from bench.report.findings.tuned import effort_lines
    from bench.report.findings.uses import use_lines
    from bench.report.judge.verdict import Verdicts
    from bench.report.text.markup import written

    finished, quantities = comparison.finished, comparison.quantities
    verdicts = Verdicts.of(comparison)
    parts = {
        "What to choose": use_lines(comparison),
        "Differences of accuracy": noise_lines(verdicts),
        "Each model's own best settings": [line for one in tuned for line in effort_lines(one)],
        "Dominated models, and the front": [
            *dominance_lines(verdicts, quantities),
            *front_lines(verdicts, quantities),
        ]
        if len(finished) > 1
        else [],
        "Best on each quantity": best_lines(verdicts, quantities),
        "What each model confuses": confusion_lines(finished),
        "Overfitting and unfinished learning": [*overfitting_lines(finished), *unfinished_lines(finished)],
        "Trials that failed": failure_lines(comparison.contenders),
        "Caveats": caveat_lines(comparison, verdicts.answers),
    }
    name = markdown(title(comparison))
    content = [f"<details><summary>{name}: all that its numbers say</summary>", f"## {name}", _about(comparison)]
    if finished:
        content.append(written(summary_table(comparison), "markdown"))
    for heading, lines in parts.items():
        if lines:
            content += [f"### {heading}", _lines(lines)]
    return [*content, "</details>"]


def _about(comparison: Comparison) -> str:
    first, trials = comparison.first, _trials(comparison)
    data, models = first.data, counted(len(comparison.contenders), "model")
    ended = sum(trial.record.status == "ok" for trial in trials)
    seeds = f"{counted(len(comparison.seeds), 'seed')}: {', '.join(map(str, comparison.seeds))}"
    return (
        f"{models}, {counted(len(trials), 'trial')}, {ended} of which ended well ({seeds}). "
        f"Protocol {markdown(first.protocol.name)} (`{first.protocol.fingerprint[:12]}`), data "
        f"{markdown(data.name)} (`{data.fingerprint[:12]}`): {len(data.classes):,} classes; "
        f"pictures: {data.train:,} for training, {data.val:,} for validation, {data.test:,} for testing."
    )


def _trials(comparison: Comparison) -> list[Trial]:
    return [trial for contender in comparison.contenders for trial in contender.trials]

"""findings.md: what the numbers of each comparison say, in sentences that carry them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.records.comparison import Comparison, Trial
from bench.report.artifact import Artifact
from bench.report.text.markup import markdown
from bench.report.text.numbers import counted

HOW_TO_READ = (
    "Made from the records; nothing is typed by hand. Brackets hold 95 % intervals: of an accuracy or a score over "
    "seeds (Student's t), of a top-1 of one seed Wilson's for so many test pictures, of a time that of its rounds, "
    "over several trials from the lowest end to the highest about their geometric mean. More than chance is what a "
    "test finds at 5 %, corrected for all pairs of models (Holm): top-1 on the same test pictures, times by their "
    "ratios with trials as clusters, other scores over three common seeds or more. The models were timed one after "
    "the other: an order of times may be the machine's. Points are percentage points."
)


def artifacts(results: Path, comparisons: Sequence[Comparison]) -> Iterator[Artifact]:
    """findings.md, where there is any comparison."""
    if comparisons:
        yield Artifact(results / "findings.md", partial(make, tuple(comparisons)))


def make(comparisons: Sequence[Comparison]) -> bytes:
    """The content of findings.md."""
    parts = ["# Findings", HOW_TO_READ]
    for comparison in comparisons:
        parts += _section(comparison)
    return ("\n\n".join(parts) + "\n").encode()


def _section(comparison: Comparison) -> list[str]:
    from bench.report.findings.behaviour import confusion_lines, failure_lines, overfitting_lines, unfinished_lines
    from bench.report.findings.caveats import caveat_lines
    from bench.report.findings.leaders import best_lines, dominance_lines, front_lines
    from bench.report.findings.noise import noise_lines
    from bench.report.judge.verdict import Verdicts

    finished, quantities = comparison.finished, comparison.quantities
    verdicts = Verdicts.of(comparison)
    parts = {
        "Best on each quantity": best_lines(verdicts, quantities),
        "Differences of accuracy": noise_lines(verdicts),
        "Dominated models, and the front": [
            *dominance_lines(verdicts, quantities),
            *front_lines(verdicts, quantities),
        ]
        if len(finished) > 1
        else [],
        "What each model confuses": confusion_lines(finished),
        "Overfitting and unfinished learning": [*overfitting_lines(finished), *unfinished_lines(finished)],
        "Trials that failed": failure_lines(comparison.contenders),
        "Caveats": caveat_lines(comparison, verdicts.answers),
    }
    written = [f"## {markdown(comparison.name)}", _about(comparison)]
    for title, lines in parts.items():
        if lines:
            written += [f"### {title}", "\n".join(f"- {line}" for line in lines)]
    return written


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

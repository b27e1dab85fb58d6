"""What the numbers of a comparison do not carry: seeds, machines, disturbances, small test sets, unclean code."""

from __future__ import annotations

from collections.abc import Sequence

from bench.protocol import unequal
from bench.records.comparison import Comparison, Contender
from bench.records.machine import described
from bench.records.record import Record
from bench.report.judge.intervals import wilson_interval
from bench.report.judge.paired import Answers
from bench.report.judge.verdict import Verdicts
from bench.report.text.markup import markdown
from bench.report.text.numbers import counted, label_parts, listed
from bench.report.text.verdicts import ONE_SEED


def caveat_lines(comparison: Comparison, answers: Answers) -> list[str]:
    """One line a caveat, the gravest first."""
    contenders = comparison.finished
    records = [trial.record for contender in contenders for trial in contender.finished]
    if not records:
        return []
    return [
        *_seeds(contenders),
        *_options(records),
        _pictures(records[0]),
        *_unread(answers),
        *_machines(records),
        *_disturbed(comparison),
        *_unmeasured(contenders),
        *_code(records),
    ]


def _seeds(contenders: Sequence[Contender]) -> list[str]:
    single = [one.model for one in contenders if len(one.finished) == 1]
    if len(single) == len(contenders):
        return [ONE_SEED]
    counts = {len(one.finished) for one in contenders}
    if len(counts) == 1:
        return []
    shown = "; ".join(
        f"{counted(count, 'seed')}: {listed([one.model for one in contenders if len(one.finished) == count])}"
        for count in sorted(counts)
    )
    alone = " Those with one have no interval over seeds." if single else ""
    return [f"The models have unequal numbers of finished seeds ({shown}).{alone}"]


def _options(records: Sequence[Record]) -> list[str]:
    """Options of the protocol that only some of the models have."""
    asked = (records[0].protocol.settings.get("model") or {}).get("options") or {}
    has = {one.model.name: one.model.options | one.model.resolved_options for one in records}
    return [
        f"{markdown(f'{key} = {asked[key]}')} of the protocol is no option of {listed(without)}."
        for key, without in unequal(asked, has).items()
    ]


def _pictures(record: Record) -> str:
    top1 = record.accuracy.test_top1 if record.accuracy else 0.0
    low, high = wilson_interval(top1, record.data.test)
    return (
        f"The test set has {record.data.test:,} pictures: one is {100 / record.data.test:.2g} points, and for the best "
        f"model's top-1 alone the choice of pictures is worth −{100 * (top1 - low):.1f} to +{100 * (high - top1):.1f} "
        "points (95 %)."
    )


def _unread(answers: Answers) -> list[str]:
    if not answers.unread:
        return []
    names = [f"{folder.parent.name}/{folder.name}" for folder in answers.unread]
    return [f"Without predictions that can be read, and so without paired tests: {listed(names)}."]


def _machines(records: Sequence[Record]) -> list[str]:
    """Where the trials ran under different conditions, their times and memory are not comparable."""
    machines: dict[str, set[str]] = {}
    for record in records:
        machines.setdefault(described(record.environment), set()).add(record.model.name)
    if len(machines) < 2:
        return []
    shown = "; ".join(
        f"{markdown(where)}: {listed(sorted(models), most=4)}" for where, models in sorted(machines.items())
    )
    return [f"Trained under {len(machines)} conditions, so that epochs and memory are not comparable ({shown})."]


def _disturbed(comparison: Comparison) -> list[str]:
    """Models whose times the machine disturbed, with what was seen."""
    lines = []
    for quantity in comparison.quantities:
        by_reason: dict[str, list[str]] = {}
        for contender, why in zip(comparison.finished, Verdicts.of(comparison).on(quantity).disturbed, strict=True):
            if why:
                by_reason.setdefault(why, []).append(contender.model)
        count = sum(map(len, by_reason.values()))
        if count:
            shown = "; ".join(
                f"{', '.join(map(markdown, models))}: {markdown(why)}" for why, models in by_reason.items()
            )
            name = label_parts(quantity)[0]
            lines.append(
                f"{name[:1].upper()}{name[1:]} is marked as disturbed for {count} of "
                f"{counted(len(comparison.finished), 'model')} ({shown})."
            )
    return lines


def _unmeasured(contenders: Sequence[Contender]) -> list[str]:
    """What was not measured, and counts that a second counter does not confirm."""
    lines = []
    for one in contenders:
        measured = one.first.measured
        if measured.error:
            lines.append(f"{markdown(one.model)} was not measured: {markdown(measured.error)}.")
        if measured.errors:
            shown = "; ".join(f"{name}: {markdown(error)}" for name, error in measured.errors.items())
            lines.append(f"Of {markdown(one.model)} could not be measured: {shown}.")
    missing = [one.model for one in contenders if one.first.efficiency is None]
    if missing:
        lines.append(f"Without measurements of compute, time and memory: {listed(missing)}.")
    for one in contenders:
        check = one.first.measured.macs_cross_check
        if check and not check.agrees:
            lines.append(f"{markdown(one.model)}: two counters of MACs differ by {100 * check.difference:.2f} %.")
    return lines


def _code(records: Sequence[Record]) -> list[str]:
    """Where the code is not one commit, the records may not be of the same program."""
    gits = [(record.environment or {}).get("git") or {} for record in records]
    dirty = sum(bool(git.get("dirty")) for git in gits)
    commits = {git.get("commit") for git in gits if git.get("commit")}
    lines = []
    if dirty:
        lines.append(f"{dirty} of {counted(len(records), 'trial')} ran with changes that were not committed.")
    if len(commits) > 1:
        lines.append(f"The trials come from {len(commits)} commits of the code.")
    return lines

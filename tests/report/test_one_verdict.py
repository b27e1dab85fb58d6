"""Tables, findings, figures, page, compare and recommend never contradict each other about two models.

Of the published records every output is asked about every pair of models and each quantity, and has to give the one
verdict, or nothing that says otherwise.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from made import write_predictions, write_trial

from bench.records.comparison import Comparison, read_comparisons
from bench.records.quantities import BY_KEY
from bench.report.figures.pareto import costs
from bench.report.findings.answer import answer, winners
from bench.report.findings.leaders import best_lines, dominance_lines, front_lines, summary_table
from bench.report.findings.uses import MARGIN, USES, use_lines
from bench.report.judge import choose
from bench.report.judge.compare import compare
from bench.report.judge.dominance import beats, front
from bench.report.judge.recommend import recommend
from bench.report.judge.verdict import Verdicts
from bench.report.page.data import page_data
from bench.report.tables.comparison import comparison_table
from bench.report.text.markup import markdown
from bench.report.text.numbers import label_parts
from bench.report.text.verdicts import said

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = [ROOT / "tests" / "copies", ROOT / "results" / "reference"]


@pytest.fixture(scope="module", params=[folder for folder in PUBLISHED if folder.is_dir()], ids=lambda one: one.name)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published records; those without predictions have some that agree with them."""
    if (request.param / "index.html").is_file():
        return Path(request.param)
    copied = tmp_path_factory.mktemp("results") / "copies"
    shutil.copytree(request.param, copied)
    for record in copied.glob("*/*/seed*/record.json"):
        write_predictions(record.parent)
    return copied


@pytest.fixture(scope="module")
def asked(results: Path) -> list[tuple[Comparison, Verdicts]]:
    found, damaged = read_comparisons(results)
    assert not damaged
    return [(comparison, Verdicts.of(comparison)) for comparison in found]


def names(verdicts: Verdicts) -> list[str]:
    return [contender.model for contender in verdicts.contenders]


def test_the_records_are_worth_asking(asked: list[tuple[Comparison, Verdicts]]) -> None:
    outcomes = {
        verdicts.on(quantity).between(a, b).outcome
        for comparison, verdicts in asked
        for quantity in comparison.quantities
        for a, b in combinations(range(len(verdicts.contenders)), 2)
    }
    assert outcomes == {"better", "worse", "tie", "unknown"}


def test_marks_in_tables_are_the_verdict_against_the_best(asked: list[tuple[Comparison, Verdicts]]) -> None:
    said_by_mark = {"": "better", "tie": "tie", "unknown": "unknown"}
    for comparison, verdicts in asked:
        columns = {quantity.label: quantity for quantity in comparison.quantities}
        table = comparison_table(comparison)
        for at, header in enumerate(table.headers):
            cells = {place: row[at] for place, row in enumerate(table.rows) if row[at].text}
            best = [place for place, cell in cells.items() if cell.mark == "best"]
            if header not in columns or not best:
                assert not any(cell.mark for cell in cells.values())
                continue
            standing = verdicts.on(columns[header])
            for place, cell in cells.items():
                if place != best[0]:
                    assert standing.between(best[0], place).outcome == said_by_mark[cell.mark]


def decoded(shown: dict[str, Any], key: str, a: int, b: int, count: int) -> str:
    """What the page's data say of a against b, a < b, as web/verdicts.js reads them; of so many models."""
    found = shown["verdicts"]["by_quantity"][key]
    assert found["against"] is None
    cell = found["all"] if "all" in found else found["cells"][a * (2 * count - a - 1) // 2 + b - a - 1]
    outcome, evidence = shown["verdicts"]["words"][cell if isinstance(cell, int) else cell[0]]
    return f"{outcome}: {evidence}"


def test_the_page_has_the_verdict_on_every_pair(results: Path, asked: list[tuple[Comparison, Verdicts]]) -> None:
    data = page_data(results, [comparison for comparison, _ in asked])
    for (comparison, verdicts), shown in zip(asked, data["comparisons"], strict=True):
        for quantity in comparison.quantities:
            standing = verdicts.on(quantity)
            if len(standing.order) < 2:
                assert quantity.key not in shown["verdicts"]["by_quantity"]
                continue
            for a, b in combinations(range(len(verdicts.contenders)), 2):
                assert decoded(shown, quantity.key, a, b, len(verdicts.contenders)) == said(standing.between(a, b))
        keys = [one["key"] for one in data["quantities"]]
        for pair, places in shown["fronts"].items():
            cost, other = (BY_KEY[keys[int(at)]] for at in pair.split(","))
            assert sorted(front(verdicts, cost, other).on) == places


def test_compare_says_the_same_both_ways_and_fails_only_what_is_worse(
    results: Path, asked: list[tuple[Comparison, Verdicts]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "read_comparisons", cache(read_comparisons))  # once for all pairs
    for comparison, verdicts in asked:
        known = names(verdicts)
        # Of the larger results folder, each with the best alone.
        pairs = permutations(range(len(known)), 2)
        for a, b in (pair for pair in pairs if results.name == "copies" or 0 in pair):
            (found,), _ = compare(known[a], known[b], results=results, protocol=comparison.name)
            for change in found.changes:
                assert change.verdict == verdicts.on(change.quantity).between(b, a)
            worse = {change.quantity for change in found.changes if change.verdict.outcome == "worse"}
            assert {change.quantity for change in found.changes if change.worse} <= worse


def test_recommend_says_the_same(results: Path, asked: list[tuple[Comparison, Verdicts]]) -> None:
    for comparison, verdicts in asked:
        found, _ = recommend(results, most=["params=1e9"], protocol=comparison.name)
        assert [one.model for one in found.chosen] == names(verdicts)
        standing = verdicts.on(BY_KEY["accuracy"])
        for place, one in enumerate(found.chosen):
            assert one.against_first == (standing.between(place, 0) if place else None)


def lines_of(found: list[str], start: str) -> Iterator[str]:
    return (one for one in found if one.startswith(start))


def test_findings_say_the_same_of_the_best_and_of_who_follows(asked: list[tuple[Comparison, Verdicts]]) -> None:
    for comparison, verdicts in asked:
        lines = best_lines(verdicts, comparison.quantities)
        for standing in (verdicts.on(quantity) for quantity in comparison.quantities if quantity.better):
            for line in lines_of(lines, f"**{markdown(standing.quantity.label)}**"):
                if line.endswith("all models have it."):
                    continue
                follows = re.search(r"; (\S+) follows with ", line)
                assert follows is not None
                (place,) = [at for at, name in enumerate(names(verdicts)) if markdown(name) == follows[1]]
                assert line.endswith(f"; {said(standing.between(place, standing.order[0]))}.")


def test_the_answer_and_the_row_of_winners_name_exactly_those_whom_the_verdict_names(
    asked: list[tuple[Comparison, Verdicts]],
) -> None:
    accuracy = BY_KEY["accuracy"]
    rows = {row[0].text: [cell.text for cell in row] for row in winners([one for one, _ in asked]).rows}
    for comparison, verdicts in asked:
        known, standing = names(verdicts), verdicts.on(accuracy)
        if len(standing.order) < 2:
            assert comparison.name not in rows
            continue
        best, *others = standing.order
        outcomes = {place: standing.between(best, place).outcome for place in others}
        ties = [place for place in others if outcomes[place] == "tie"]
        sentence, row = answer(comparison), rows[comparison.name]
        assert f": {markdown(known[best])} is best with " in sentence
        assert ("cannot be told from it" in sentence) == bool(ties)
        assert all(markdown(known[place]) in sentence for place in ties)
        if behind := re.search(r"; (\S+), the next, is ", sentence):
            assert outcomes[[markdown(one) for one in known].index(behind[1])] == "better"
        assert (row[1], row[3]) == (known[best], ", ".join(known[place] for place in ties) or "none")
        for cell, cost in zip(row[4:6], (verdicts.on(BY_KEY[key]) for key in ("gmacs", "latency_ms")), strict=True):
            if cell == "not known":
                continue
            named = [known.index(one.rpartition(" (")[0]) for one in re.split(r"(?<=\)), ", cell)]
            left = [place for place in (best, *ties) if place not in named]
            assert all(cost.between(named[0], place).outcome == "tie" for place in named)
            assert all(cost.between(named[0], place).outcome == "better" for place in left)


def test_what_findings_choose_for_a_use_is_what_recommend_lists_and_no_test_finds_cheaper(
    results: Path, asked: list[tuple[Comparison, Verdicts]]
) -> None:
    for comparison, verdicts in asked:
        known, accuracy = names(verdicts), verdicts.on(BY_KEY["accuracy"])
        lines = use_lines(comparison)
        if len(accuracy.order) < 2:
            assert lines == []
            continue
        best = accuracy.values[accuracy.order[0]]
        assert best is not None
        found, _ = recommend(results, least=[f"accuracy={best.mean - MARGIN:.12f}"], protocol=comparison.name)
        chosen = [known.index(one.model) for one in found.chosen]
        assert all(markdown(known[place]) in lines[1] for place in chosen)
        assert f"{len(chosen)} model" in lines[1]
        for key in (key for keys in USES.values() for key in keys):
            cost = verdicts.on(BY_KEY[key])
            named = re.findall(rf"least {re.escape(label_parts(cost.quantity)[0])}: (\S+) \(", "\n".join(lines[2:]))
            for place in ([markdown(one) for one in known].index(name) for name in named):
                assert place in chosen
                assert {cost.between(place, other).outcome for other in chosen if other != place} <= {"better", "tie"}


def test_two_models_share_a_letter_exactly_where_the_verdict_does_not_tell_them_apart(
    asked: list[tuple[Comparison, Verdicts]],
) -> None:
    for comparison, verdicts in asked:
        for table in (summary_table(comparison), comparison_table(comparison)):
            if "group" not in table.headers:
                assert not verdicts.on(BY_KEY["accuracy"]).tested
                continue
            groups = [set(row[list(table.headers).index("group")].text) for row in table.rows]
            for a, b in combinations(range(len(verdicts.contenders)), 2):
                outcome = verdicts.on(BY_KEY["accuracy"]).between(a, b).outcome
                assert bool(groups[a] & groups[b]) == (outcome not in ("better", "worse"))


def test_findings_and_figures_have_the_same_front_and_nobody_is_dominated_by_chance(
    asked: list[tuple[Comparison, Verdicts]],
) -> None:
    accuracy = BY_KEY["accuracy"]
    for comparison, verdicts in asked:
        drawn, known = costs(comparison), names(verdicts)
        lines = front_lines(verdicts, comparison.quantities)
        for cost in (one for one in comparison.quantities if one.front and one.key in drawn and len(known) > 1):
            on = [known[place] for place in front(verdicts, cost, accuracy).on]
            (panel,) = drawn[cost.key].panels
            assert on == [panel.points[number].model for number in panel.front]
            (line,) = [line for line in lines if f"against {cost.label.partition(' (')[0]}" in line]
            assert [name for name in on if f"{markdown(name)} (" not in line] == []
            assert ("There is no Pareto front" in line) == (not on)
        for line in dominance_lines(verdicts, comparison.quantities)[1:]:
            beaten, by = (line.partition(" is dominated by ")[at].partition(" (")[0] for at in (0, 2))
            a, b = ([markdown(name) for name in known].index(name) for name in (by, beaten))
            judged = [verdicts.on(one) for one in comparison.quantities if one.dominance]
            # Left out is what some model lacks, and, as is said, where nothing at all is known of a quantity.
            assert beats([one for one in judged if len(one.silent) < len(one.order) == len(known)], a, b)


def test_a_plugins_quantity_is_judged_in_every_output(tmp_path: Path) -> None:
    own = {"key": "onnx_mb", "label": "onnx (MB)", "about": "its size", "path": "plugins.onnx.bytes", "scale": 1e-6,
           "kind": "count", "better": "lower", "unit": "MB", "judged": True, "page": True}  # fmt: skip
    for name, size in (("small", 2e6), ("large", 9e6)):
        write_trial(tmp_path, name, plugins={"onnx": {"bytes": size}}, quantities=[own])
    (comparison,), _ = read_comparisons(tmp_path)
    table = comparison_table(comparison)
    cells = {row[0].text: row[table.headers.index("onnx (MB)")] for row in table.rows}
    assert {name: (cell.text, cell.mark) for name, cell in cells.items()} == {
        "small": ("2.00", "best"), "large": ("9.00", ""),
    }  # fmt: skip
    (found,), _ = compare("small", "large", results=tmp_path)
    assert [change.quantity.key for change in found.changes if change.worse] == ["onnx_mb"]
    answer, _ = recommend(tmp_path, most=["onnx_mb=5MB"])
    assert [one.model for one in answer.chosen] == ["small"]
    data = page_data(tmp_path, [comparison])
    assert "onnx_mb" in data["columns"]
    assert decoded(data["comparisons"][0], "onnx_mb", 0, 1, 2) == "worse: counted"

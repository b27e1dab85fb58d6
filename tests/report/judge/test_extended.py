"""What an extension changes: against its own base, on the same pictures, by ratios of times taken in turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import answers, write_session, write_trial

from bench.records.comparison import Comparison, applied, read_comparisons
from bench.report.findings.extensions import extensions_answer
from bench.report.judge.extended import changes
from bench.report.judge.paired import agreement, paired_difference
from bench.report.make.report import make_report
from bench.report.tables.comparison import comparison_table
from bench.report.tables.extensions import extensions_csv, extensions_json, extensions_table, extensions_text
from bench.report.text.markup import written

BASE = answers(0.8, 2000)


def write_extended(results: Path, name: str, right: np.ndarray, base: str = "vit", **parts: Any) -> Path:
    extensions = [{"name": one.partition(":")[0], "plugin": "p"} for one in name.split("+")[1:]]
    return write_trial(results, name, right, model={"base": base, "extensions": extensions}, **parts)


def flipped(right: np.ndarray, lost: int, won: int = 0) -> np.ndarray:
    """As many right answers lost, and wrong ones put right."""
    changed = right.copy()
    changed[np.flatnonzero(right)[:lost]] = False
    changed[np.flatnonzero(~right)[:won]] = True
    return changed


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """`vit` as it is, and extended in five ways; a `cnn` beside, and one whose base is not there."""
    write_trial(tmp_path, "vit", BASE)
    half = {"efficiency": {"macs": 500_000_000, "memory": {"train_peak": 60_000_000}}}
    write_extended(tmp_path, "vit+thrifty", flipped(BASE, 3, 3), **half)
    write_extended(tmp_path, "vit+lossy", flipped(BASE, 200), **half)
    write_extended(tmp_path, "vit+unsure", flipped(BASE, 60, 50), **half)
    write_extended(tmp_path, "vit+better", flipped(BASE, 0, 90))
    write_extended(tmp_path, "vit+heavy", BASE, efficiency={"macs": 2_000_000_000})
    write_extended(tmp_path, "other+thrifty", BASE, base="other")
    write_trial(tmp_path, "cnn", BASE)
    write_session(tmp_path / "quick", {"vit": 10.0, "vit+thrifty": 6.0, "vit+lossy": 5.0, "cnn": 3.0})
    (one,), damaged = read_comparisons(tmp_path)
    assert not damaged
    return one


def test_each_extended_model_is_held_against_its_own_base(comparison: Comparison) -> None:
    found = {comparison.finished[one.place].model: one for one in changes(comparison)}
    assert {name: one.outcome for name, one in found.items()} == {
        "vit+thrifty": "pays", "vit+lossy": "costs", "vit+unsure": "cannot tell", "vit+better": "pays",
        "vit+heavy": "costs",
    }  # fmt: skip
    assert {comparison.finished[one.base].model for one in found.values()} == {"vit"}
    right = np.array([flipped(BASE, 200), BASE])
    by_hand = paired_difference(agreement(right), 2000, [0], [1])
    assert found["vit+lossy"].accuracy.value == pytest.approx(100 * by_hand.value) == pytest.approx(-10.0)
    assert found["vit+lossy"].accuracy.low == pytest.approx(100 * by_hand.low)
    ratios = found["vit+thrifty"].ratios
    assert ratios["gmacs"].value == 0.5 and ratios["memory"].value == 0.6 and ratios["gmacs"].low is None
    latency = ratios["latency_ms"]
    assert latency.value == pytest.approx(0.6) and latency.low is not None and latency.low < 0.6
    assert "latency_ms" not in found["vit+better"].ratios  # not timed


def test_the_table_stands_beside_the_comparison_and_says_the_same(comparison: Comparison) -> None:
    table = extensions_table(comparison)
    assert table is not None
    text = written(table, "markdown")
    assert text.count("vit+") == 5 and "other+thrifty" not in text
    row = next(line for line in text.splitlines() if "vit+thrifty" in line)
    assert "0.50" in row and "0.60 [0.5" in row and "pays" in row
    assert "vit+thrifty" in written(comparison_table(comparison), "markdown")
    assert "vit+thrifty" in extensions_text(comparison)
    assert "| vit+thrifty" in extensions_text(comparison, "markdown")
    header, *lines = extensions_csv(comparison).decode().splitlines()
    values = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    (thrifty,) = [one for one in values if one["model"] == "vit+thrifty"]
    assert (thrifty["base"], thrifty["extensions"], thrifty["outcome"]) == ("vit", "thrifty", "pays")
    assert float(thrifty["x_gmacs"]) == 0.5 and float(thrifty["top1_points"]) == 0
    assert {one["outcome"] for one in extensions_json(comparison)} == {"pays", "costs", "cannot tell"}


def test_findings_say_which_pays_which_costs_and_which_cannot_be_told(comparison: Comparison) -> None:
    said = extensions_answer(comparison)
    pays, costs, open_ = (said.index(word) for word in ("Pays: ", "Costs: ", "Cannot be told: "))
    for name, (start, end) in {
        "thrifty": (pays, costs), "better": (pays, costs), "lossy": (costs, open_), "unsure": (open_, len(said)),
    }.items():  # fmt: skip
        assert f"+{name}" in said[start:end]
    assert "−10.00" in said and "GMACs × 0.50" in said


def test_a_report_has_the_table_in_every_form_and_the_figure(comparison: Comparison, tmp_path: Path) -> None:
    outcome = make_report(tmp_path)
    assert not outcome.failed and not outcome.damaged
    folder = tmp_path / "quick"
    for name in ("extensions.csv", "extensions.tex", "figures/extensions.png", "figures/column/extensions.pdf"):
        assert (folder / name).stat().st_size > 100
    assert "What each extension changes" in (folder / "README.md").read_text()
    assert "What extensions change" in (tmp_path / "findings.md").read_text()
    marked = tmp_path / "text.md"
    marked.write_text("<!-- bench report quick extensions -->\n<!-- end -->\n")
    make_report(tmp_path, texts=[marked])
    assert "vit+thrifty" in marked.read_text()


def test_nothing_pays_beside_a_base_that_guesses(tmp_path: Path) -> None:
    guess = answers(1 / 3, 2000)
    write_trial(tmp_path, "vit", guess)
    write_extended(tmp_path, "vit+thrifty", guess, efficiency={"macs": 500_000_000})
    (one,), _ = read_comparisons(tmp_path)
    (change,) = changes(one)
    assert change.accuracy.low is not None and change.accuracy.low > -1 and change.outcome == "cannot tell"


def test_without_an_extended_model_there_is_nothing_of_it(tmp_path: Path) -> None:
    write_trial(tmp_path, "vit", BASE)
    write_trial(tmp_path, "cnn", BASE)
    (one,), _ = read_comparisons(tmp_path)
    assert changes(one) == [] and extensions_table(one) is None and extensions_text(one) == extensions_answer(one) == ""
    make_report(tmp_path)
    assert not list((tmp_path / "quick").rglob("extensions.*"))


def test_what_was_applied_to_a_trained_model_stands_beside_that_trial_alone(tmp_path: Path) -> None:
    base = write_trial(tmp_path, "vit", BASE)
    write_trial(tmp_path, "cnn", BASE)
    made = write_extended(tmp_path, "vit+merged", flipped(BASE, 100), training=None)
    (base / "applied").mkdir()
    made.rename(base / "applied" / "merged")
    (one,), damaged = read_comparisons(tmp_path)
    assert not damaged and {contender.model for contender in one.contenders} == {"vit", "cnn"}
    beside = applied(one)
    assert beside is not None and {contender.model for contender in beside.contenders} == {"vit", "vit+merged"}
    (change,) = changes(beside)
    assert change.accuracy.value == pytest.approx(-5.0) and change.outcome == "costs"
    before = one.digest
    make_report(tmp_path)
    assert "vit+merged" in (tmp_path / "quick" / "README.md").read_text()
    (base / "applied" / "merged" / "record.json").unlink()
    (again,), _ = read_comparisons(tmp_path)
    assert applied(again) is None and again.digest != before

"""The comparison: one row a model, sorted, its best marked, traceable, and never mixing what must not be compared."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import answers, write_failure, write_session, write_trial

from bench.files import trial_folder, write_text
from bench.records.comparison import Comparison, Trial, comparisons, read_comparisons
from bench.records.quantities import BY_KEY
from bench.records.record import Record, write_record
from bench.report.findings.answer import answer
from bench.report.judge.intervals import estimate, half_interval, wilson_interval
from bench.report.judge.marks import marks
from bench.report.judge.verdict import Verdicts
from bench.report.tables.by_class import classes_latex
from bench.report.tables.comparison import (
    comparison_csv,
    comparison_latex,
    comparison_table,
    conditions,
    csv_units,
    notes,
    run_columns,
    run_text,
)
from bench.report.tables.folder_page import write_page, write_tables
from bench.report.tables.latex import BETWEEN, COLUMNS, TEXT, fitting, width
from bench.report.tables.times import times_json, times_text
from bench.report.text.markup import Cell, Table

Make = Callable[..., Record]


def compared(*records: Record) -> Comparison:
    """The comparison of records that may be compared."""
    folder = Path("results/quick")
    (one,) = comparisons([Trial(trial_folder(folder, each.model.name, each.seed), each) for each in records])
    return one


def heavy(record: Record) -> Record:
    """The same with more parameters."""
    return record.model_copy(update={"model": record.model.model_copy(update={"params": 9_000_000})})


def rows(records: Sequence[Record], columns: Callable[[Comparison], list[str]] = run_columns) -> list[dict[str, str]]:
    """The table's rows: what each cell says, under its header."""
    one = compared(*records)
    table: Table = comparison_table(one, columns(one))
    return [dict(zip(table.headers, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_a_row_says_what_a_trial_cost_and_gave_with_units_in_the_header(make_record: Make) -> None:
    (row,) = rows([make_record("vgg19", 0.875)])
    assert row == {
        "model": "vgg19",
        "params (M)": "1.23",
        "trainable (M)": "0.23",
        "GMACs": "2.345",
        "s/epoch": "3.2",
        "total s": "12.3",
        "peak MB": "346",
        "best epoch": "2",
        "val top-1 (%)": "75.00",
        "test top-1 (%)": "87.50 [83.68, 90.53]",
        "macro F1": "0.4321",
    }


def test_the_best_model_is_first_and_a_failed_one_last_with_the_reason(make_record: Make) -> None:
    found = rows([make_record("low", 0.1), make_record("none", None), make_record("high", 0.9)])
    assert [row["model"] for row in found] == ["high", "low", "none"]
    assert [row["status"] for row in found] == ["ok", "ok", "crashed: ended by SIGKILL"]
    assert {text for header, text in found[-1].items() if header not in ("model", "status")} == {""}


def test_seeds_are_one_row_with_the_mean_and_half_of_its_interval(make_record: Make) -> None:
    (row,) = rows([make_record("m", top1, seed) for seed, top1 in enumerate((0.90, 0.92, 0.94))])
    # Student's t at 97.5 % with 2 degrees of freedom is 4.303; the deviation is 2 points.
    assert row["test top-1 (%)"] == "92.00 ± 4.97"


def test_a_row_of_which_one_seed_failed_says_so(make_record: Make) -> None:
    (row,) = rows([make_record("m", 0.9, 0), make_record("m", None, 1)])
    assert row["status"] == "1 of 2 ok; crashed: ended by SIGKILL"
    assert row["test top-1 (%)"] == "90.00 [86.47, 92.69]"  # of 360 pictures


def test_what_nobody_measured_is_no_column_and_is_named(make_record: Make) -> None:
    one = compared(make_record())
    assert "J/image" not in comparison_table(one).headers
    assert "not measured: M act., latency (ms), images/s, step (ms), J/image." in notes(one)


def marked(key: str, *records: Record) -> dict[str, str]:
    """The marks of a column, by model."""
    verdicts = Verdicts.of(compared(*records))
    return {verdicts.contenders[place].model: mark for place, mark in marks(verdicts.on(BY_KEY[key])).items()}


def test_where_nothing_is_known_of_any_difference_a_column_has_no_best(make_record: Make) -> None:
    records = [make_record("a", 0.95), make_record("b", 0.5)]  # without predictions, which are what pairs are tested by
    assert marked("accuracy", *records) == {}
    assert marked("macro_f1", *records) == {}
    assert any("has no best" in line for line in notes(compared(*records)))
    assert any("Wilson" in line for line in notes(compared(*records)))


@pytest.mark.parametrize("others", [0.0, 1.0])
def test_times_of_a_session_are_marked_unless_it_was_disturbed_which_a_dagger_says(
    tmp_path: Path, others: float
) -> None:
    times = {"a": 1.0, "b": 1.02, "c": 9.0, "d": 5.0}
    for name in times:
        write_trial(tmp_path, name)
    write_session(tmp_path / "quick", {name: times[name] for name in "abc"}, others=others)
    ((one,), _) = read_comparisons(tmp_path)
    table = comparison_table(one)
    column = table.headers.index("latency (ms)")
    cells = {row[0].text: (row[column].text, row[column].mark) for row in table.rows}
    quiet = {"a": ("1.00 [0.99, 1.01]", "best"), "b": ("1.02 [1.01, 1.03]", "tie"), "c": ("9.00 [8.91, 9.09]", "")}
    noisy = {"a": ("1.00 †", ""), "b": ("1.02 †", ""), "c": ("9.00 †", "")}
    assert cells == {**(noisy if others else quiet), "d": ("", "")}
    assert any("†" in line for line in notes(one)) is bool(others)
    read = {row["model"]: row for row in csv.DictReader(io.StringIO(comparison_csv(one).decode()))}
    flags = {name: row["latency_ms_disturbed"] for name, row in read.items()}
    assert flags == {**dict.fromkeys("abc", "1" if others else "0"), "d": ""}
    assert "accuracy_disturbed" not in read["a"]
    assert {"accuracy: %", "latency_ms: ms"} <= set(csv_units(one))


def test_letters_behind_top1_say_who_can_be_told_apart_and_a_failed_model_has_none(tmp_path: Path) -> None:
    for name, share in (("good", 0.9), ("near", 0.89), ("bad", 0.5)):
        write_trial(tmp_path, name, answers(share))
    write_failure(tmp_path, "none")
    ((one,), _) = read_comparisons(tmp_path)
    table = comparison_table(one)
    assert list(table.headers[:3]) == ["model", "test top-1 (%)", "group"]
    assert [(row[0].text, row[2].text) for row in table.rows] == [
        ("good", "a"), ("near", "a"), ("bad", "b"), ("none", ""),
    ]  # fmt: skip
    assert table.rows[-1][-1].text == "oom: no memory left" and len(table.headers) - 1 in table.left
    assert any(line.startswith("group: models that share a letter") for line in notes(one))
    assert not any(line.startswith("group") for line in notes(one, ["params"]))


def test_ratios_to_the_first_model_stand_beside_the_times(tmp_path: Path) -> None:
    write_trial(tmp_path, "first", answers(0.9))
    write_trial(tmp_path, "second", answers(0.5))
    write_session(tmp_path / "quick", {"first": 10.0, "second": 4.0})
    ((one,), _) = read_comparisons(tmp_path)
    text = times_text(one)
    assert re.search(r"first +10.00 \[9.90, 10.10\] +1\n", text)
    assert re.search(r"second +4.00 \[3.96, 4.04\] +0.40 \[0.39, 0.41\]\n", text)
    assert "the ratio to first" in text and "over 1 session" in text
    assert times_json(one)["models"][1]["latency_ms"]["against_first"]["outcome"] == "better"


def test_counts_tie_only_where_they_print_alike(make_record: Make) -> None:
    def sized(name: str, params: int) -> Record:
        one = make_record(name)
        return one.model_copy(update={"model": one.model.model_copy(update={"params": params})})

    assert marked("params", sized("a", 1_000_000), sized("b", 1_004_000), sized("c", 1_006_000)) == {
        "a": "best",
        "b": "tie",
    }


def test_nothing_is_best_of_one_and_no_number_of_trainable_parameters_is_better(make_record: Make) -> None:
    assert marked("accuracy", make_record("alone"), make_record("failed", None)) == {}
    assert marked("trainable", make_record("a"), make_record("b")) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_half_an_interval_is_not_negative_and_zero_for_a_lone_or_constant_value(values: list[float]) -> None:
    assert half_interval(values) >= 0
    assert half_interval(values[:1]) == 0
    assert half_interval([values[0]] * 3) == pytest.approx(0, abs=1e-12)


def test_intervals_are_as_in_the_textbook() -> None:
    assert half_interval([1, 2, 3, 4, 5]) == pytest.approx(1.963, abs=0.001)
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)


def test_of_two_seeds_and_where_t_would_leave_the_scale_the_lowest_and_the_highest_are_shown(make_record: Make) -> None:
    """Student's t of two values is 12.7, and an end that is cut off at 100 % would hide that the model is wrong."""
    two = compared(make_record("a", 0.3, 0), make_record("a", 0.9, 1))
    found = estimate(BY_KEY["accuracy"], two.contenders[0])
    assert found and (found.mean, found.low, found.high) == pytest.approx((60, 30, 90))
    (row,) = rows([trial.record for trial in two.contenders[0].trials])
    assert row["test top-1 (%)"] == "60.00 [30.00, 90.00]"
    same = [make_record("a", 0.5, 0), make_record("a", 0.5, 1)]
    (row,) = rows(same)
    assert row["test top-1 (%)"] == "50.00 [50.00, 50.00]"  # two came to the same, which is not one alone
    assert "a gets 50.00 [50.00, 50.00] %" in answer(compared(*same))
    beyond = compared(*(make_record("a", top1, seed) for seed, top1 in enumerate((0.95, 0.99, 1.0))))
    found = estimate(BY_KEY["accuracy"], beyond.contenders[0])
    assert found and (found.low, found.high) == pytest.approx((95, 100))
    within = compared(*(make_record("a", top1, seed) for seed, top1 in enumerate((0.5, 0.51, 0.52))))
    (row,) = rows([trial.record for trial in within.contenders[0].trials])
    assert row["test top-1 (%)"] == "51.00 ± 2.48"


def test_csv_has_the_mean_the_interval_and_the_count_of_every_quantity_to_twelve_digits(make_record: Make) -> None:
    three = [100 / 3, 34, 35]
    records = [*(make_record("a,b", top1 / 100, seed) for seed, top1 in enumerate(three)), make_record("f", None)]
    found = list(csv.DictReader(io.StringIO(comparison_csv(compared(*records)).decode())))
    assert [row["model"] for row in found] == ["a,b", "f"]
    first = found[0]
    assert (first["accuracy"], first["accuracy_n"], first["gmacs"]) == ("34.1111111111", "3", "2.345")
    assert float(first["accuracy_high"]) - float(first["accuracy"]) == pytest.approx(half_interval(three))
    assert first["protocol_fingerprint"] == "p" * 64
    assert (found[1]["accuracy"], found[1]["accuracy_n"]) == ("", "0")
    assert found[1]["status"] == "crashed: ended by SIGKILL"


def test_latex_is_booktabs_tables_with_caption_and_label(make_record: Make) -> None:
    text = comparison_latex(compared(make_record("vit_tiny", 0.9), heavy(make_record("b", 0.1)))).decode()
    tables = text.split(r"\begin{table}")[1:]
    assert len(tables) > 1
    for number, table in enumerate(tables, start=1):
        for expected in (r"\toprule", r"\midrule", r"\bottomrule", r"vit\_tiny", r"\caption{", r"\end{table}"):
            assert table.count(expected) == 1
        assert rf"\label{{tab:bench-quick-{number}}}" in table
        assert table.split(r"\begin{tabular}{")[1].partition("}")[0].count("r") <= COLUMNS - 1
    assert r"\textbf{1.23}" in text and r"\hline" not in text


cells_of = st.lists(st.text("0123456789.[]± ", min_size=1, max_size=24), min_size=1, max_size=12)


@given(cells_of, st.integers(1, 4))
def test_tables_of_latex_fit_the_text_and_lose_no_column(cells: list[str], models: int) -> None:
    headers = ["model", *(f"h{number}" for number in range(len(cells)))]
    name = "token_learner_vit_tiny:after=0.5,tokens={}"
    table = Table(headers, [[Cell(name.format(number)), *map(Cell, cells)] for number in range(models)])
    found = list(fitting(table))
    assert [header for one in found for header in one.headers[1:]] == headers[1:]
    for one in found:
        assert len(one.headers) <= COLUMNS
        columns = zip(one.headers, *([cell.text for cell in row] for row in one.rows), strict=True)
        assert sum(width(column) + BETWEEN for column in columns) - BETWEEN <= TEXT


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
@pytest.mark.slow
def test_no_table_of_the_published_results_is_wider_than_the_text_of_an_article(tmp_path: Path) -> None:
    found, _ = read_comparisons(Path(__file__).parents[3] / "results" / "reference")
    tables = b"\\clearpage\n".join(make(one) for one in found for make in (comparison_latex, classes_latex))
    begin = b"\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
    (tmp_path / "all.tex").write_bytes(begin + tables + b"\\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Overfull" not in done.stdout


def test_machines_are_named_and_several_are_said_to_be_so(make_record: Make) -> None:
    here, there = make_record("a"), make_record("b", environment={"device": "Other CPU", "device_kind": "cpu"})
    alone = " ".join(conditions(compared(here)))
    assert "Machine: Some CPU, 2 threads, fp32, torch 2.13." in alone
    assert "several machines" not in alone
    both = conditions(compared(here, there))
    assert any("several machines" in line for line in both)
    assert [line for line in both if line.startswith("Machine: Other CPU")] == ["Machine: Other CPU. b."]


def test_settings_and_seeds_are_written_beneath(make_record: Make) -> None:
    lines = conditions(compared(make_record(seed=0), make_record(seed=3)))
    assert "train: epochs = 3, tried = [1]." in lines
    assert any("seeds 0, 3" in line and "p" * 12 in line for line in lines)


def test_run_prints_the_best_with_a_star(make_record: Make) -> None:
    text = run_text(
        [
            Trial(Path("results/quick/a/seed0"), make_record("a", 0.9)),
            Trial(Path("results/quick/b/seed0"), heavy(make_record("b", 0.1))),
        ]
    )
    assert "* 1.23" in text
    assert "*: the best of its column" in text


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., str]:
    """`page(record, …)`: the README.md that is written for those records."""

    def write(*records: Record) -> str:
        for each in records:
            write_record(trial_folder(tmp_path / "quick", each.model.name, each.seed), each)
        write_tables(read_comparisons(tmp_path)[0])
        return (tmp_path / "quick" / "README.md").read_text()

    return write


def test_the_page_holds_the_table_and_what_it_was_made_under(page: Callable[..., str], make_record: Make) -> None:
    text = page(heavy(make_record("high", 0.9)), make_record("low", 0.1), make_record("broken", None))
    assert text.startswith("# quick\n")
    for expected in (
        "| high ", "| low ", "| broken ", "Best mean test top-1 first", "1,222 pictures for training",
        "360 for testing", "p" * 12, "d" * 12, "Some CPU, 2 threads, fp32, torch 2.13", "**1.23**",
    ):  # fmt: skip
        assert expected in text


def test_the_page_of_a_run_is_that_of_a_report_and_needs_no_files(
    page: Callable[..., str], make_record: Make, tmp_path: Path
) -> None:
    text = page(make_record("high", 0.9), make_record("low", 0.1))
    found = read_comparisons(tmp_path)[0]
    shutil.rmtree(tmp_path / "quick")
    write_page(found)
    assert (tmp_path / "quick" / "README.md").read_text() == text


def test_the_page_explains_the_interval_where_there_are_several_seeds(
    page: Callable[..., str], make_record: Make
) -> None:
    assert "±" not in page(make_record("m", 0.9))
    assert "Student's t" in page(make_record("m", 0.9), make_record("m", 0.8, seed=1))


def test_the_page_is_the_same_however_often_it_is_written(page: Callable[..., str], make_record: Make) -> None:
    assert page(make_record("m", 0.9)) == page(make_record("m", 0.9))


def test_different_fingerprints_never_share_a_table_and_damaged_records_are_named(
    page: Callable[..., str], make_record: Make, tmp_path: Path
) -> None:
    def other(**changes: Any) -> dict[str, Any]:
        return {"protocol": {"name": "quick", "fingerprint": "q" * 64, "settings": {}}, **changes}

    write_text(trial_folder(tmp_path / "quick", "damaged", 0) / "record.json", "{")
    text = page(make_record("mine"), make_record("theirs", **other()))
    found, damaged = read_comparisons(tmp_path)
    assert sorted([contender.model for contender in one.contenders] for one in found) == [["mine"], ["theirs"]]
    for one in found:
        assert text.index(f"## {one.name}") < text.index(one.contenders[0].model)
        assert one.file("comparison.csv").exists()
    assert len(damaged) == 1
    assert "damaged" in damaged[0]


def test_a_results_folder_within_another_is_not_part_of_it(make_record: Make, tmp_path: Path) -> None:
    for folder in ("quick", "reference/quick"):
        write_record(trial_folder(tmp_path / folder, "m", 0), make_record())
    assert [one.folder for one in read_comparisons(tmp_path)[0]] == [tmp_path / "quick"]
    assert [one.folder for one in read_comparisons(tmp_path / "quick")[0]] == [tmp_path / "quick"]

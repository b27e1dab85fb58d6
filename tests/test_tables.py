"""The results table: one row a model, sorted, traceable, and never mixing what must not be compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.protocol import Protocol
from bench.records import Record, trial_folder, write_record, write_text
from bench.report.tables import COLUMNS, half_interval, matching, results_table, write_run_page


def record(name: str = "m", top1: float | None = 0.5, seed: int = 0, **changes: Any) -> Record:
    """A record of a trial that ended well, or, without a top-1, of one that failed."""
    document: dict[str, Any] = {
        "status": "ok",
        "seed": seed,
        "seconds": 12.34,
        "model": {
            "name": name, "plugin": "p", "family": "cnn", "source": "", "options": {},
            "params": 1_234_567, "trainable_params": 234_567,
        },
        "protocol": {"name": "quick", "fingerprint": "p" * 64, "settings": {}},
        "data": {"name": "digits", "fingerprint": "d" * 64, "classes": ["0", "1"],
                 "train": 1222, "val": 215, "test": 360},
        "environment": {"device": "Some CPU", "device_kind": "cpu", "threads": 2, "precision": "fp32", "torch": "2.13"},
        "training": {
            "epochs": 3, "best_epoch": 2, "stopped_early": False, "seconds": 9, "epoch_seconds": [1.0, 2.0, 4.5],
            "images_per_second": 100, "seconds_to_best": 3, "history": {},
        },
        "efficiency": {"macs": 2_345_000_000, "memory": {"train_peak": 345_600_000}},
    }  # fmt: skip
    if top1 is None:
        document |= {"status": "crashed", "error": {"type": "crashed", "message": "ended by SIGKILL"}}
        document |= {"training": None, "efficiency": None, "environment": None}
    else:
        document["accuracy"] = {
            "val_top1": 0.75, "test_top1": top1, "test_top5": 1, "test_loss": 1, "macro_f1": 0.4321, "ece": 0,
            "per_class": {}, "confusion": [],
        }  # fmt: skip
    return Record.model_validate({**document, **changes})


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows(records: list[Record]) -> list[list[str]]:
    """The table's cells, header first."""
    header, _, *body = results_table(records, "github").splitlines()
    return [cells(line) for line in (header, *body)]


def test_a_row_says_what_a_trial_cost_and_gave_with_units_in_the_header() -> None:
    header, row = rows([record("vgg19", 0.875)])
    assert dict(zip(header, row, strict=True)) == {
        "model": "vgg19",
        "params (M)": "1.23",
        "trainable (M)": "0.23",
        "GMACs": "2.345",
        "s/epoch": "2.5",
        "total s": "12.3",
        "peak MB": "346",
        "best epoch": "2",
        "val top-1 (%)": "75.00",
        "test top-1 (%)": "87.50",
        "macro F1": "0.4321",
        "status": "ok",
    }


def test_the_best_model_is_first_and_a_failed_one_last() -> None:
    names = [
        row[0] for row in rows([record("low", 0.1), record("none", None), record("high", 0.9), record("also", 0.9)])
    ]
    assert names[1:] == ["also", "high", "low", "none"]


def test_a_failed_model_has_a_row_that_says_why() -> None:
    _, row = rows([record("broken", None)])
    assert row[0] == "broken"
    assert row[-1] == "crashed: ended by SIGKILL"
    assert set(row[6:-1]) == {""}


def test_seeds_are_one_row_with_the_mean_and_half_of_its_interval() -> None:
    header, row = rows([record("m", 0.90, seed=0), record("m", 0.92, seed=1), record("m", 0.94, seed=2)])
    # Student's t at 97.5 % with 2 degrees of freedom is 4.303; the deviation is 2 points.
    assert dict(zip(header, row, strict=True))["test top-1 (%)"] == "92.00 ± 4.97"
    assert dict(zip(header, row, strict=True))["status"] == "ok"


def test_a_row_of_which_one_seed_failed_says_so() -> None:
    header, row = rows([record("m", 0.9, seed=0), record("m", None, seed=1)])
    assert dict(zip(header, row, strict=True))["status"] == "1 of 2 ok; crashed: ended by SIGKILL"
    assert dict(zip(header, row, strict=True))["test top-1 (%)"] == "90.00"


@pytest.mark.parametrize("message", ["int | float expected", "a" * 200, "pipes ||| and\nlines"])
def test_a_message_cannot_break_the_table(message: str) -> None:
    failed = record("m", None, error={"type": "error", "message": message})
    table = results_table([failed, record("n")], "github").splitlines()
    assert len(table) == 4
    unescaped = [line.replace("\\|", "") for line in table]
    assert {line.count("|") for line in unescaped} == {len(COLUMNS) + 3}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_half_an_interval_is_not_negative_and_zero_for_a_lone_or_constant_value(values: list[float]) -> None:
    assert half_interval(values) >= 0
    assert half_interval(values[:1]) == 0
    assert half_interval([values[0]] * 3) == pytest.approx(0, abs=1e-12)


def test_half_an_interval_is_as_in_the_textbook() -> None:
    assert half_interval([1, 2, 3, 4, 5]) == pytest.approx(1.963, abs=0.001)


def test_records_of_another_protocol_or_other_data_or_damaged_are_not_in_the_table(tmp_path: Path) -> None:
    other = {"name": "quick", "fingerprint": "q" * 64, "settings": {}}
    for model in (record("m"), record("n", protocol=other)):
        write_record(trial_folder(tmp_path, model.model.name, 0), model)
    elsewhere = record("o").to_json()
    elsewhere["data"]["fingerprint"] = "e" * 64
    write_record(trial_folder(tmp_path, "o", 0), Record.model_validate(elsewhere))
    write_text(trial_folder(tmp_path, "damaged", 0) / "record.json", "{")
    assert [found.model.name for found in matching(tmp_path, "p" * 64, "d" * 64)] == ["m"]


@pytest.fixture
def page(tmp_path: Path, tiny_protocol: Callable[..., Protocol]) -> Callable[..., str]:
    """`page(record, …)`: the README.md that is written for those records."""

    def write(*records: Record) -> str:
        protocol = tiny_protocol()
        of_protocol = {"name": "quick", "fingerprint": protocol.fingerprint, "settings": {}}
        for each in records:
            whole = Record.model_validate({**each.to_json(), "protocol": of_protocol})
            write_record(trial_folder(tmp_path / "quick", each.model.name, each.seed), whole)
        write_run_page(tmp_path / "quick", protocol, "d" * 64)
        return (tmp_path / "quick" / "README.md").read_text()

    return write


def test_the_page_holds_the_table_and_what_it_was_made_under(
    page: Callable[..., str], tiny_protocol: Callable[..., Protocol]
) -> None:
    text = page(record("high", 0.9), record("low", 0.1), record("broken", None))
    assert text.startswith("# quick\n")
    for expected in (
        "| high ", "| low ", "| broken ", "Best test top-1 first", "1,222 pictures for training", "360 for testing",
        tiny_protocol().fingerprint[:12], "d" * 12, "Some CPU, 2 threads, fp32, torch 2.13",
    ):  # fmt: skip
        assert expected in text


def test_the_page_explains_the_interval_where_there_are_several_seeds(page: Callable[..., str]) -> None:
    assert "±" not in page(record("m", 0.9))
    assert "Student's t" in page(record("m", 0.9), record("m", 0.8, seed=1))


def test_the_page_is_the_same_however_often_it_is_written(page: Callable[..., str]) -> None:
    assert page(record("m", 0.9)) == page(record("m", 0.9))

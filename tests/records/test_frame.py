"""All records as one table: nothing lost on the way to CSV and Parquet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from made import write_session, write_trial

from bench import RequestError, load_frame
from bench.files import trial_folder, write_text
from bench.records.frame import export
from bench.records.record import Record, RecordError, write_record

Make = Callable[..., Record]


@pytest.fixture
def results(tmp_path: Path, make_record: Make) -> Path:
    """Three trials, one failed, with plugins' quantities of different types."""
    folder = tmp_path / "results"
    for record in (
        make_record("a", 0.9, plugins={"mine": {"size": 3}}, environment={"cuda": None, "threads": 2}),
        make_record("a", 0.8, seed=1, plugins={"mine": {"size": "large"}}),
        make_record("b", None),
    ):
        write_record(trial_folder(folder / "quick", record.model.name, record.seed), record)
    return folder


def test_a_row_is_a_trial_and_a_column_a_dotted_key(results: Path) -> None:
    frame = load_frame(results)
    assert frame["folder"].tolist() == ["quick/a/seed0", "quick/a/seed1", "quick/b/seed0"]
    assert frame["accuracy.test_top1"].tolist()[:2] == [0.9, 0.8]
    assert frame["protocol.settings.train.epochs"].tolist() == [3, 3, 3]
    assert frame["status"].tolist() == ["ok", "ok", "crashed"]
    assert frame["error.message"].tolist()[2] == "ended by SIGKILL"
    assert json.loads(frame["training.history.train_loss"][0]) == [3, 2, 1]
    assert json.loads(frame["accuracy.per_class"][0])["1"]["recall"] == 0.5
    assert frame["accuracy.test_top1"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_read_back_as_the_frame(results: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "out" / f"all.{suffix}"
    assert export(results, file) == (3, [])
    read = pandas.read_csv(file) if suffix == "csv" else pandas.read_parquet(file)
    frame = load_frame(results)
    assert list(read.columns) == list(frame.columns)
    for name in ("model.name", "seed", "accuracy.test_top1", "efficiency.memory.train_peak", "plugins.mine.size"):
        assert read[name].dropna().tolist() == frame[name].dropna().tolist()


def test_the_repositorys_own_records_can_be_exported(tmp_path: Path) -> None:
    reference = Path(__file__).parents[2] / "results" / "reference"
    rows, damaged = export(reference, tmp_path / "all.parquet")
    assert rows == len(list(reference.glob("*/*/seed*/record.json")))
    assert damaged == []
    columns = list(pandas.read_parquet(tmp_path / "all.parquet").columns)
    assert "efficiency.latency_ms.p50" in columns
    assert not any("macs_by_module" in name for name in columns)


def test_ends_of_intervals_means_of_epochs_and_times_of_sessions_are_columns_with_units(tmp_path: Path) -> None:
    efficiency = {"throughput": [{"batch": 8, "images_per_second": 90.0}, {"batch": 64, "images_per_second": 250.0}]}
    write_trial(tmp_path / "results", "a", efficiency=efficiency)
    write_trial(tmp_path / "results", "b")
    write_session(tmp_path / "results" / "quick", {"a": 10.0})
    file = tmp_path / "all.csv"
    assert export(tmp_path / "results", file) == (2, [])
    read = pandas.read_csv(file)
    assert read["efficiency.latency_ms.ci95_low"].tolist() == [9.5, 9.5]
    assert read["training.epoch_seconds_mean"].tolist() == [1.0, 1.0]
    assert read["efficiency.images_per_second"].tolist()[0] == 250.0
    assert read["timing.latency_seconds"].tolist()[0] == pytest.approx(0.01)
    low, high = (read[f"timing.latency_seconds_{end}"][0] for end in ("low", "high"))
    assert low < 0.01 < high
    assert read["timing.latency_images_per_second"].tolist()[0] == pytest.approx(100)
    schema = {one["column"]: one for one in json.loads((tmp_path / "all.schema.json").read_text())}
    assert set(schema) == set(read.columns)
    units = {name: schema[name]["unit"] for name in ("accuracy.test_top1", "efficiency.macs", "timing.latency_seconds",
             "efficiency.memory.train_peak", "training.epoch_seconds_mean", "model.name")}  # fmt: skip
    assert list(units.values()) == ["share", "MACs", "s", "bytes", "s", None]
    names = ("timing.latency_seconds_low", "timing.latency_images_per_second", "efficiency.images_per_second")
    assert [schema[name]["unit"] for name in names] == ["s", "images/s", "images/s"]
    assert schema["accuracy.test_top1"]["type"] == "float64"
    assert "classify rightly" in schema["accuracy.test_top1"]["about"]
    assert load_frame(tmp_path / "results")["efficiency.latency_ms.disturbed"].dtype == "float64"  # all null


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_count_that_some_trials_lack_stays_a_whole_number(results: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"all.{suffix}"
    export(results, file)
    frame = load_frame(results)
    assert [str(frame[name].dtype) for name in ("training.best_epoch", "accuracy.test_top1")] == ["Int64", "float64"]
    if suffix == "csv":
        assert "2.0" not in pandas.read_csv(file, dtype=str)["training.best_epoch"].dropna().tolist()
    else:
        assert str(pandas.read_parquet(file)["training.best_epoch"].dtype) == "Int64"


def test_a_damaged_record_is_left_out_of_a_file_and_named_and_refused_for_a_frame(
    results: Path, tmp_path: Path
) -> None:
    write_text(trial_folder(results / "quick", "damaged", 0) / "record.json", "{")
    rows, (line,) = export(results, tmp_path / "all.csv")
    assert rows == 3
    assert "damaged/seed0/record.json" in line
    with pytest.raises(RecordError, match="damaged"):
        load_frame(results)


@pytest.mark.parametrize("to, missing", [("all.xlsx", None), ("all.csv", "pandas"), ("all.parquet", "pyarrow")])
def test_what_cannot_be_done_is_said_with_what_to_do(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, missing: str | None
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RequestError, match="bench-image-models\\[export\\]" if missing else "must end in"):
        export(results, tmp_path / to)
    with pytest.raises(RequestError, match="no records"):
        monkeypatch.undo()
        export(tmp_path / "empty", tmp_path / "all.csv")

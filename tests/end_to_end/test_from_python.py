"""`bench.run` in a real notebook, in a script, and from standard input: progress, a table, records, a data frame."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import bench
from bench import calls
from bench.events import Event, Measuring

RUN = """
import bench
outcome = bench.run("tiny", "small.toml", overrides={"train": {"epochs": 2}, "name": "two"}, device="cpu", timing=False)
"""
TOLD = """
print(outcome.ok, outcome.page, len(outcome.frame()), outcome.records[0].training.epochs)
print(bench.report("results", texts=()).page)
"""


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with plugins and a protocol."""
    monkeypatch.chdir(place)


@pytest.mark.slow
def test_a_notebook_shows_progress_and_the_table_and_goes_on_with_what_was_run(place: Path) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (RUN, "outcome", TOLD)])
    NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(place)}}).execute()
    ran, shown, told = (cell.outputs for cell in book.cells)
    (last,) = [one for one in outputs(ran, "text/html") if "test top-1" in one]
    assert "tiny seed 0: ok, test top-1" in last and "<progress" not in last  # what is done stays, the bars go
    (table,) = outputs(shown, "text/markdown")
    assert re.search(r"\| tiny +\|", table) and "Brackets after a top-1" in table
    said = "".join(one.text for one in told if one.output_type == "stream")
    assert said.splitlines() == ["True results/two/README.md 1 2", "results/index.html"]


def outputs(cell: list[Any], kind: str) -> list[str]:
    """What the cell shows of that kind."""
    return [
        one.data[kind] for one in cell if one.output_type in ("display_data", "execute_result") and kind in one.data
    ]


@pytest.mark.slow
def test_a_script_from_standard_input_has_lines_of_progress_and_prints_what_the_command_does(place: Path) -> None:
    script = f"{RUN}print(outcome){TOLD}"
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[1/1] tiny seed 0: ok, test top-1" in done.stderr
    assert done.stdout.startswith("model ") and done.stdout.endswith("results/two/README.md 1 2\nresults/index.html\n")


def test_who_listens_hears_beside_the_progress_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    bench.measure("other", image_size=8, classes=3, only=["macs"], device="cpu", tell=heard.append)
    assert any(isinstance(event, Measuring) and event.quantity == "macs" for event in heard)
    assert "other: macs" in capsys.readouterr().err


def test_the_functions_are_bench_s_own_whatever_of_its_packages_is_loaded() -> None:
    import bench.measure.clock
    import bench.run.sweep

    assert (bench.run, bench.measure, bench.report) == (calls.run, calls.measure, calls.report)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"models": "tinny"}, "did you mean tiny"),
        ({"models": "tiny", "overrides": {"train": {"epochs": None}}}, "train.epochs = None is no value"),
        ({"models": "tiny", "overrides": {"train.epoks": 1}}, "did you mean train.epochs"),
        ({"models": "tiny", "overides": {}}, "did you mean overrides"),
        ({"models": bench.RunRequest(("tiny",)), "protocol": "quick"}, "say it in the RunRequest"),
    ],
)
def test_what_cannot_be_carried_out_is_one_line(place: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(bench.RequestError) as raised:
        bench.run(**given, progress=False)
    assert told in str(raised.value) and "\n" not in str(raised.value)

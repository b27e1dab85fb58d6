"""`python -m bench report` and `export`, as a user types them, on a copy of the repository's own results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

RECORDS = Path(__file__).parents[1] / "copies"
SECTION = "# Mine\n\n<!-- bench report results/quick comparison: accuracy, gmacs -->\n<!-- end -->\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with results of eight models, and a README.md that wants their table."""
    for record in (RECORDS / "quick").glob("*/seed*/record.json"):
        folder = tmp_path / "results" / "quick" / record.parent.relative_to(RECORDS / "quick")
        shutil.copytree(record.parent, folder)
    (tmp_path / "README.md").write_text(SECTION)
    return tmp_path


def test_a_report_is_made_and_its_check_finds_what_is_not_as_the_records_give_it(
    place: Path, bench: Callable[..., Any]
) -> None:
    stale = bench("report", "--check", in_folder=place)
    assert stale.returncode == 1
    assert "results/quick/README.md: missing; python -m bench report --results results" in stale.stdout
    made = bench("report", in_folder=place)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith("results: ")
    assert "renewed the marked sections of" in made.stdout
    assert "| densenet121 " in (place / "README.md").read_text()
    good = bench("report", "--check", in_folder=place)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("files are what the records give\n")
    again = json.loads(bench("report", "--json", in_folder=place).stdout)
    assert (again["made"], again["removed"], again["failed"]) == ([], [], {})
    page = place / "results" / "quick" / "README.md"
    page.write_text(page.read_text().replace("densenet121", "vgg19"))  # as it once happened
    found = bench("report", "--check", "--json", in_folder=place)
    assert found.returncode == 1
    (problem,) = json.loads(found.stdout)["problems"]
    assert problem["file"] == "results/quick/README.md"


def test_the_process_that_reports_does_not_import_torch(place: Path) -> None:
    code = "import sys; sys.argv[1:] = ['report', '-q']; import bench.__main__ as m\ntry: m.main()\n"
    code += "finally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\n"


def test_damaged_records_are_named_and_what_is_wrong_with_the_request_is_said_in_a_line(
    place: Path, bench: Callable[..., Any]
) -> None:
    broken = place / "results" / "quick" / "vgg19" / "seed0" / "record.json"
    broken.write_text("{")
    done = bench("report", in_folder=place)
    assert done.returncode == 1
    assert done.stderr.startswith("results/quick/vgg19/seed0/record.json: not a record")
    nothing = bench("report", "--results", "nowhere", in_folder=place)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.count("\n") == 1
    assert "nowhere: no such folder" in nothing.stderr


def test_all_records_go_into_one_file(place: Path, bench: Callable[..., Any]) -> None:
    done = bench("export", "--to", "all.parquet", in_folder=place)
    assert (done.returncode, done.stdout) == (0, "8 trials: all.parquet\n")
    assert pandas.read_parquet(place / "all.parquet")["model.name"].nunique() == 8
    assert bench("export", "--to", "all.txt", in_folder=place).returncode == 2


# The command with twenty figures more, each of which takes a while.
SLOW = """
import sys, time
from functools import partial
from pathlib import Path
from bench.report import figures
from bench.report.artifact import Artifact

def draw(number):
    time.sleep(0.3)
    return str(number).encode()

figures.artifacts = lambda _: [Artifact(Path("results") / f"{one}.png", partial(draw, one)) for one in range(20)]
sys.argv[1:] = ["report"]
from bench.__main__ import main
main()
"""


def test_an_interrupted_report_ends_soon_and_keeps_what_is_finished(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not list(place.glob("results/*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the processes that draw, too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "interrupted; everything finished so far is kept: the same command goes on from there\n"
    finished = {file.name for file in place.glob("results/*.png")}
    assert 0 < len(finished) < 20
    assert finished <= set(json.loads((place / "results" / ".report.json").read_text()))


def test_the_published_results_are_what_their_records_give(bench: Callable[..., Any]) -> None:
    checkout = Path(__file__).parents[2]
    checked = bench("report", "--results", "results/reference", "--check", in_folder=checkout)
    assert checked.returncode == 0, checked.stdout + checked.stderr

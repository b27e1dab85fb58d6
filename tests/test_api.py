"""From Python as from the command line: runs, measurements and reports, with the tables that they leave."""

from __future__ import annotations

import gc
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench import api
from bench.errors import RequestError
from bench.events import Event, Measuring, Note, TrialEnded
from bench.plugins import Registry
from bench.records.record import Record

# An executor of the user's own, which does everything here and now; and two that listen, one of which fails.
HERE = """
from bench import ExecutorSpec, hookimpl

class Here:
    def run(self, work, *, log=None, timeout=None):
        events = []
        answer = work(events.append)
        yield from events
        return answer

@hookimpl
def bench_executors():
    yield ExecutorSpec("here", Here)

@hookimpl
def bench_event(event):
    with open("heard.txt", "a") as file:
        print(type(event).__name__, file=file)
"""
DEAF = """
from bench import hookimpl

@hookimpl
def bench_event(event):
    raise RuntimeError("deaf")
"""
STUDY = """
name = "study"
seeds = [0]
data = { dataset = "digits", image_size = 8, validation = 0.15, test_limit = 100 }
model = { weights = "scratch" }
optimizer = { name = "adam", learning_rate = 0.01 }
schedule = { name = "constant" }
train = { what = "full", epochs = 1, batch_size = 32, precision = "fp32", limit = 100 }
"""


@pytest.fixture
def place(tmp_path: Path, tiny_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with plugins and a protocol of the user's own."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "tiny_model.py").write_text((tiny_plugins / "tiny_model.py").read_text())
    (tmp_path / "plugins" / "here.py").write_text(HERE)
    (tmp_path / "plugins" / "deaf.py").write_text(DEAF)
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_run_by_an_executor_of_a_plugin_leaves_its_record_and_tables_and_every_listener_hears(place: Path) -> None:
    told: list[Event] = []
    outcome = api.run("tiny", protocol="study.toml", device="cpu", executor="here", timing=False, tell=told.append)
    assert outcome.ok
    assert outcome.folder == Path("results/study")
    assert [record.model.name for record in outcome.records] == ["tiny"]
    assert (outcome.folder / "tiny" / "seed0" / "record.json").exists()
    assert "tiny" in (outcome.folder / "README.md").read_text()
    assert list((outcome.folder / "figures").glob("accuracy*.png"))
    heard = (place / "heard.txt").read_text().splitlines()
    assert heard[0] == "Note" and heard[-1] == "TrialEnded"
    assert [type(event).__name__ for event in told if not isinstance(event, Note)] == [
        name for name in heard if name != "Note"
    ]
    assert sum(isinstance(event, TrialEnded) for event in told) == 1
    assert sum("deaf is asked no more" in event.text for event in told if isinstance(event, Note)) == 1
    made = api.report("results")
    assert "claims.md" in made.made
    assert api.check_report("results").problems == []


@pytest.mark.slow
def test_each_trial_is_on_the_page_once_it_has_ended(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = {"protocol": "study.toml", "device": "cpu", "executor": "here", "timing": False}
    api.run("tiny", **study)
    monkeypatch.setattr(api.Sparing, "SHARE", math.inf)
    page, seen = Path("results/study/README.md"), []
    models = ["tiny:width=4", "tiny:width=2", "tiny:width=8"]
    api.run(models, **study, tell=lambda event: isinstance(event, TrialEnded) and seen.append(page.read_text()))
    names = [{*re.findall(r"^\| (tiny\S*)", text, re.MULTILINE)} for text in (*seen, page.read_text())]
    # The next trial is under way meanwhile, and may have ended, too; after the last one the tables follow at once.
    assert [one >= {"tiny", *models[: 1 + number]} for number, one in enumerate(names[:2])] == [True, True]
    assert len(seen) == 3 and names[-1] == {"tiny", *models}


@pytest.mark.slow
def test_a_run_keeps_no_record_in_memory_and_says_which_one_is_gone(place: Path) -> None:
    def held() -> int:
        gc.collect()
        return sum(isinstance(one, Record) for one in gc.get_objects())

    before = held()
    outcome = api.run("tiny", protocol="study.toml", device="cpu", executor="here", seeds=[0, 1], timing=False)
    assert held() <= before  # of other runs, which may have been let go of
    assert [record.seed for record in outcome.records] == [0, 1]
    assert outcome.to_json()["records"] == [record.to_json() for record in outcome.records]
    (outcome.folder / "tiny" / "seed1" / "record.json").unlink()
    with pytest.raises(RequestError, match=r"seed1/record.json was changed or removed since it was written"):
        assert outcome.records


def test_what_takes_long_is_called_for_a_fiftieth_of_the_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = [0.0], []

    def slow() -> None:
        calls.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(api.time, "monotonic", lambda: now[0])
    sparing = api.Sparing(slow)
    for _ in range(300):
        sparing()
        now[0] += 1.0
    assert calls[:3] == [0.0, 102.0, 204.0]


def test_measurements_are_given_and_kept_with_their_table(place: Path) -> None:
    told: list[Event] = []
    (found,) = api.measure("tiny", image_size=8, classes=3, only=["macs"], device="cpu", tell=told.append)
    assert found.efficiency.macs and found.efficiency.macs > 0
    assert (found.settings["image_size"], found.settings["classes"]) == (8, 3)
    assert any(isinstance(event, Measuring) for event in told)
    assert "tiny" in (place / "results" / "measure" / "README.md").read_text()


@pytest.mark.slow
def test_the_layers_that_train_are_told_without_torch_in_the_asking_process(place: Path) -> None:
    code = (
        "import sys\nfrom bench import api\n"
        "name, what, layers = api.trainable_layers('tiny', 'cifar10')\n"
        "print(name, what, [one['name'] for one in layers if one['trains']], 'torch' in sys.modules)\n"
    )
    # A script is not run once more in the processes that work.
    (place / "ask.py").write_text(code)
    done = subprocess.run([sys.executable, "ask.py"], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "tiny last-block ['backbone.block', 'head.0', 'head.3', 'head.6'] False\n"


def test_every_public_name_is_there() -> None:
    assert all(getattr(bench, name) is not None for name in bench.__all__)


def test_the_executor_that_comes_with_bench_is_a_plugin_like_any_other(registry: Registry) -> None:
    spec, plugin = registry.executors["local"]
    assert plugin.name == "executors"
    assert callable(spec.start().run)

"""Nothing is lost: a plugin does any harm on command (benchmarks/faults/faulty.py), and what the user sees is read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.records.record import Record, read_record

FAULTY = Path(__file__).resolve().parents[2] / "benchmarks" / "faults" / "faulty.py"
# What is not of the plugin, and what every one of its faults must leave alone.
OTHER = """
from bench import ModelSpec, hookimpl

def build(*, num_classes, image_size, pretrained):
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())

@hookimpl
def bench_models():
    yield ModelSpec("other", build, family="cnn")
"""
PROTOCOL = """
name = "small"
seeds = [0]
data = { dataset = "digits", image_size = 8, validation = 0.2, test_limit = 60 }
model = { weights = "scratch" }
optimizer = { name = "adam", learning_rate = 0.01 }
schedule = { name = "constant" }
train = { what = "full", epochs = 3, batch_size = 32, precision = "fp32", limit = 96 }
"""
RUN = ("run", "--protocol", "small.toml", "--no-timing")

Bench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with both plugins and the protocol."""
    (tmp_path / "plugins").mkdir()
    shutil.copy(FAULTY, tmp_path / "plugins")
    (tmp_path / "plugins" / "other.py").write_text(OTHER)
    (tmp_path / "small.toml").write_text(PROTOCOL)
    return tmp_path


def record(place: Path, model: str = "tiny") -> Record:
    return read_record(place / "results" / "small" / model / "seed0" / "record.json")


def compared(record: Record) -> dict[str, Any]:
    """What a trial comes to, without what differs from one run to the next."""
    assert record.accuracy is not None and record.training is not None
    history = record.training.history.model_dump()
    return {"accuracy": record.accuracy.model_dump(), "history": history, "best": record.training.best_epoch}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, bench: Bench) -> dict[str, dict[str, Any]]:
    """What each model comes to where nothing goes wrong."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "plugins").mkdir()
    shutil.copy(FAULTY, folder / "plugins")
    (folder / "plugins" / "other.py").write_text(OTHER)
    (folder / "small.toml").write_text(PROTOCOL)
    done = bench(*RUN, "tiny", "other", in_folder=folder)
    assert done.returncode == 0, done.stderr
    return {model: compared(record(folder, model)) for model in ("tiny", "other")}


class Started:
    """The command under way; `until(text)` waits for a line of its standard error."""

    def __init__(self, place: Path, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments],
            cwd=place,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []

    def until(self, text: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if text in line:
                return
        raise AssertionError(f"never said {text!r}: {''.join(self.said)}")

    def end(self) -> tuple[int, str]:
        _, rest = self.process.communicate(timeout=120)
        return self.process.returncode, "".join(self.said) + rest


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., Started]]:
    begun: list[Started] = []

    def call(*arguments: str, **environment: str) -> Started:
        begun.append(Started(place, *arguments, **environment))
        return begun[-1]

    yield call
    for one in begun:
        one.process.kill()


def one_line(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    """Each text stands in a line of standard error, and there is no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    for text in texts:
        assert any(text in line for line in done.stderr.splitlines()), done.stderr


# A finished record is never lost


def test_a_trial_ends_with_the_run_that_started_it_and_the_next_run_goes_on(
    place: Path, start: Callable[..., Started], bench: Bench
) -> None:
    first = start(*RUN, "tiny:slow=0.4")
    first.until("epoch 1/3")
    first.process.kill()
    killed = time.monotonic()
    done = bench(*RUN, "tiny:slow=0.4", in_folder=place)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/3" not in done.stderr and "epoch 2/3" in done.stderr
    found = record(place, "tiny@slow=0.4")
    assert found.status == "ok" and time.monotonic() - killed < 60
    time.sleep(3)  # an orphan would have written by now
    assert record(place, "tiny@slow=0.4") == found


@pytest.mark.parametrize(("how", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)])
def test_an_interrupt_by_any_signal_is_recorded_and_says_how_to_go_on(
    how: signal.Signals, to_all: bool, place: Path, start: Callable[..., Started], bench: Bench, undisturbed: Any
) -> None:
    run = start(*RUN, "tiny:slow=0.5")
    run.until("epoch 1/3")
    (os.killpg if to_all else os.kill)(run.process.pid, how)
    status, said = run.end()
    assert status == 130
    assert said.endswith("interrupted; everything finished so far is kept: the same command goes on from there\n")
    assert "Traceback" not in said
    assert record(place, "tiny@slow=0.5").status == "interrupted"
    if how is signal.SIGHUP:  # once is enough: what goes on is the same
        done = bench(*RUN, "tiny:slow=0.5", in_folder=place)
        assert done.returncode == 0 and "epoch 1/3" not in done.stderr
        assert compared(record(place, "tiny@slow=0.5")) == undisturbed["tiny"]


def test_a_finished_record_stays_until_the_fresh_one_is_whole(
    place: Path, start: Callable[..., Started], bench: Bench
) -> None:
    assert bench(*RUN, "tiny:slow=0.3", in_folder=place).returncode == 0
    folder = place / "results" / "small" / "tiny@slow=0.3" / "seed0"
    kept = ("record.json", "predictions.npz", "pictures.npz", "model.safetensors")
    before = {name: (folder / name).read_bytes() for name in kept}
    for how in (signal.SIGINT, signal.SIGKILL):
        run = start(*RUN, "tiny:slow=0.3", "--fresh")
        run.until("epoch 2/3")
        os.kill(run.process.pid, how)
        run.end()
        assert {name: (folder / name).read_bytes() for name in kept} == before
    done = bench(*RUN, "tiny:slow=0.3", in_folder=place)
    assert done.returncode == 0 and "already recorded" in done.stderr


ENDS = {
    "os_exit": "its process ended with exit status 4",
    "segfault": "its process was ended by SIGSEGV",
    "kill": "its process was ended by SIGKILL",
    "hang": "took longer than 5 seconds",
}


def test_a_measurement_costs_its_own_value_only(place: Path, bench: Bench, undisturbed: dict[str, Any]) -> None:
    faults = ENDS | {
        "raise": "ValueError: as it was told",
        "system_exit": "SystemExit: 7",
        "keyboard": "KeyboardInterrupt",
        "memory": "MemoryError",
    }
    done = bench(*RUN, "tiny", "--timeout", "5", in_folder=place, FAULT=f"measure:{'+'.join(faults)}")
    assert done.returncode == 0, done.stderr
    found = record(place)
    for what, says in faults.items():
        one_line(done, f"tiny: troubled_{what} could not be measured: {says}")
        assert says in found.plugins[f"troubled_{what}"]["error"]
    assert found.status == "ok" and compared(found) == undisturbed["tiny"]
    assert found.efficiency is not None and found.efficiency.macs and found.efficiency.memory
    assert found.efficiency.errors is None
    assert not list((place / "results" / "small" / "tiny" / "seed0").glob("checkpoint-*"))


# Each plugin for itself


@pytest.mark.parametrize("where", ["build", "forward"])
def test_a_model_that_does_harm_costs_itself(
    where: str, place: Path, bench: Bench, undisturbed: dict[str, Any]
) -> None:
    faults = {what: f"crashed, {says}" for what, says in ENDS.items()} | {
        "hang": "timeout, took longer than 5 seconds",
        "raise": "error, as it was told",
        "memory": "oom, ",
        "system_exit": "crashed, ",
        "keyboard": "crashed, ",
    }
    models = [f"tiny_{what}" for what in faults]
    done = bench(*RUN, *models, "other", "--timeout", "5", in_folder=place, FAULT=f"{where}:{'+'.join(faults)}")
    assert done.returncode == 1
    one_line(done, *(f"tiny_{what} seed 0: {says}" for what, says in faults.items()))
    assert {record(place, model).status for model in models} == {"crashed", "timeout", "error", "oom"}
    assert compared(record(place, "other")) == undisturbed["other"]


def test_a_check_that_ends_or_hangs_names_its_model_and_stops_no_trial(place: Path, bench: Bench) -> None:
    faults = ["raise", "os_exit", "segfault", "keyboard", "hang"]
    models = [f"tiny_{what}" for what in faults]
    done = bench(*RUN, *models, "other", "--timeout", "2", in_folder=place, FAULT=f"check_build:{'+'.join(faults)}")
    one_line(done, *(f"{model} will probably fail: " for model in models))
    assert record(place, "other").status == "ok" and record(place, "tiny_segfault").status == "ok"


def test_a_plugin_that_cannot_be_imported_or_asked_is_left_out_by_every_command(
    place: Path, bench: Bench, undisturbed: dict[str, Any]
) -> None:
    faults = {
        "raise": "ValueError: as it was told (line",
        "system_exit": "SystemExit: 7 (line",
        "keyboard": "KeyboardInterrupt",
        "os_exit": "importing it ended the process with exit status 4",
        "segfault": "importing it ended the process by SIGSEGV",
        "hang": "its import takes longer than 5 seconds",
    }
    for what in faults:
        shutil.copy(FAULTY, place / "plugins" / f"{what}.py")
    (place / "plugins" / "faulty.py").unlink()
    for where in ("import", "models"):
        done = bench(*RUN, "other", "--timeout", "5", in_folder=place, FAULT=f"{where}:stem")
        assert done.returncode == 0
        one_line(done, *(f"plugins/{what}.py is left out: {says}" for what, says in faults.items()))
        assert compared(record(place, "other")) == undisturbed["other"]
    (place / "plugins" / "hang.py").unlink()  # other commands give it a minute
    for command in (("models",), ("report", "-q")):
        done = bench(*command, in_folder=place, FAULT="import:stem")
        assert done.returncode == 0 and "Traceback" not in done.stderr


def test_what_a_plugin_does_when_it_is_imported_reaches_no_other_model(
    place: Path, bench: Bench, undisturbed: dict[str, Any]
) -> None:
    for what in ("patch", "chdir", "environment", "recursion", "print"):
        shutil.copy(FAULTY, place / "plugins" / f"{what}.py")
    (place / "plugins" / "faulty.py").unlink()
    done = bench(*RUN, "other", "--json", in_folder=place, FAULT="import:stem")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"][0]["status"] == "ok"
    assert compared(record(place, "other")) == undisturbed["other"]


def test_a_listener_costs_itself_and_prints_into_no_document(
    place: Path, bench: Bench, undisturbed: dict[str, Any]
) -> None:
    failing = ("raise", "system_exit", "keyboard")
    for what in (*failing, "print", "chdir"):
        shutil.copy(FAULTY, place / "plugins" / f"{what}.py")
    (place / "plugins" / "faulty.py").unlink()
    done = bench(*RUN, "other", "--json", in_folder=place, FAULT="event:stem")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"][0]["status"] == "ok"
    assert compared(record(place, "other")) == undisturbed["other"]
    one_line(done, *(f"plugin {what} is asked no more, for its bench_event:" for what in failing))


def test_a_claim_costs_itself(place: Path, bench: Bench) -> None:
    for what in ("raise", "system_exit", "keyboard"):
        shutil.copy(FAULTY, place / "plugins" / f"{what}.py")
    assert bench(*RUN, "tiny", in_folder=place).returncode == 0
    page = place / "results" / "claims.md"
    for where, says in (("claims", "is asked no more, for its bench_claims"), ("check", "Its check raised")):
        done = bench("report", "-q", in_folder=place, FAULT=f"{where}:stem")
        assert done.returncode == 0, done.stderr
        assert page.read_text().count(says) >= 3


def test_a_plugin_that_is_changed_or_gone_while_a_run_is_under_way_costs_its_own_models(
    place: Path, start: Callable[..., Started], undisturbed: dict[str, Any]
) -> None:
    run = start(*RUN, "tiny:slow=0.3", "tiny", "other")
    run.until("epoch 1/3")
    (place / "plugins" / "faulty.py").write_text("from bench import")
    status, said = run.end()
    assert status == 1 and "Traceback" not in said
    assert "tiny seed 0: error, unknown model 'tiny'" in said
    assert record(place, "tiny@slow=0.3").status == "ok"
    assert record(place).status == "error"
    assert compared(record(place, "other")) == undisturbed["other"]


# Disks


@pytest.fixture
def small_disk(place: Path) -> Iterator[Callable[[str], Path]]:
    """`small_disk("400k")`: a folder on a disk of that size."""
    folder = place / "disk"
    folder.mkdir()
    mounted = False

    def make(size: str) -> Path:
        nonlocal mounted
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs to mount a small disk")
        mounted = True
        return folder

    yield make
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("size", ["100k"])
def test_a_full_disk_is_a_line_and_after_making_room_the_same_command_goes_on(
    size: str, place: Path, bench: Bench, small_disk: Callable[[str], Path], undisturbed: dict[str, Any]
) -> None:
    disk = small_disk(size)
    command = (*RUN, "tiny", "other", "--results", str(disk))
    done = bench(*command, in_folder=place)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert any(str(disk) in line and "No space left" in line for line in done.stderr.splitlines()), done.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
    done = bench(*command, in_folder=place)
    assert done.returncode == 0, done.stderr
    for model in ("tiny", "other"):
        found = read_record(disk / "small" / model / "seed0" / "record.json")
        assert compared(found) == undisturbed[model]


def test_a_results_folder_that_turns_into_a_file_is_a_line(place: Path, start: Callable[..., Started]) -> None:
    run = start(*RUN, "tiny:slow=0.3", "other")
    run.until("epoch 1/3")
    shutil.rmtree(place / "results")
    (place / "results").write_text("in the way")
    status, said = run.end()
    assert status == 1 and "Traceback" not in said
    assert "results/small" in said and ("Not a directory" in said or "File exists" in said)


# Two runs


def test_two_runs_on_one_folder_share_the_trials(
    place: Path, start: Callable[..., Started], undisturbed: dict[str, Any]
) -> None:
    models = ("tiny:slow=0.3", "tiny:slow=0.2", "tiny", "other")
    runs = [start(*RUN, *models, "--json") for _ in range(2)]
    documents = []
    for run in runs:
        output, said = run.process.communicate(timeout=120)
        assert run.process.returncode == 0, said
        documents.append((json.loads(output), said))
    trained = [said.count(f"{model} epoch 1/3") for model in models for _, said in documents]
    assert sum(trained) == len(models)  # none twice
    assert all(len(document["records"]) == len(models) for document, _ in documents)
    assert compared(record(place)) == undisturbed["tiny"]
    assert not list((place / "results").rglob(".lock"))


def test_a_lock_that_is_a_folder_is_a_line(place: Path, bench: Bench) -> None:
    (place / "results" / "small" / "tiny" / "seed0" / ".lock").mkdir(parents=True)
    done = bench(*RUN, "tiny", in_folder=place)
    assert done.returncode in (1, 2)
    one_line(done, ".lock is in the way")

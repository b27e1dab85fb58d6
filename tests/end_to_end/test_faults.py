"""Each plugin for itself: one does any harm on command (benchmarks/faults/faulty.py); what the user sees is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulted import FAULTY, PLAIN, RUN, Bench, Started, compared, one_line, record

ENDS = {
    "os_exit": "its process ended with exit status 4",
    "segfault": "its process was ended by SIGSEGV",
    "kill": "its process was ended by SIGKILL",
    "hang": "took longer than 12 seconds",
}


def test_a_measurement_costs_its_own_value_only(place: Path, bench: Bench, undisturbed: dict[str, Any]) -> None:
    faults = ENDS | {
        "raise": "ValueError: as it was told",
        "system_exit": "SystemExit: 7",
        "keyboard": "KeyboardInterrupt",
        "memory": "MemoryError",
    }
    done = bench(*RUN, "tiny", "--timeout", "12", in_folder=place, FAULT=f"measure:{'+'.join(faults)}+kill_once")
    assert done.returncode == 0, done.stderr
    found = record(place)
    assert found.plugins["troubled_kill_once"] == {"value": 1.0}  # something else may have ended it
    for what, says in faults.items():
        one_line(done, f"tiny: troubled_{what} could not be measured: {says}")
        assert says in found.plugins[f"troubled_{what}"]["error"]
    assert found.status == "ok" and compared(found) == undisturbed["tiny"]
    assert found.efficiency is not None and found.efficiency.macs and found.efficiency.memory
    assert found.efficiency.errors is None
    assert not list((place / "results" / "small" / "tiny" / "seed0").glob("checkpoint-*"))


@pytest.mark.parametrize("where", ["build", "forward"])
def test_a_model_that_does_harm_costs_itself(
    where: str, place: Path, bench: Bench, undisturbed: dict[str, Any]
) -> None:
    faults = {what: f"crashed, {says}" for what, says in ENDS.items()} | {
        "hang": "timeout, took longer than 10 seconds",
        "raise": "error, as it was told",
        "memory": "oom, ",
        "system_exit": "crashed, ",
        "keyboard": "crashed, ",
    }
    models = [f"tiny_{what}" for what in faults]
    done = bench(*RUN, *models, "other", "--timeout", "10", in_folder=place, FAULT=f"{where}:{'+'.join(faults)}")
    assert done.returncode == 1
    one_line(done, *(f"tiny_{what} seed 0: {says}" for what, says in faults.items()))
    assert {record(place, model).status for model in models} == {"crashed", "timeout", "error", "oom"}
    assert compared(record(place, "other")) == undisturbed["other"]


def test_a_trial_whose_process_dies_is_tried_again_where_that_is_asked_for(
    place: Path, bench: Bench, undisturbed: dict[str, Any]
) -> None:
    asked = (*RUN, "tiny_kill_once", "tiny_kill", "--retries", "1")
    done = bench(*asked, in_folder=place, FAULT="forward:kill_once+kill")
    assert done.returncode == 1
    one_line(done, *(f"tiny_{what}, seed 0: its process was ended by SIGKILL" for what in ("kill_once", "kill")))
    assert compared(record(place, "tiny_kill_once")) == undisturbed["tiny"]
    error = record(place, "tiny_kill").error
    assert error is not None and error.message.endswith("; 2 tries; see log.txt")


def test_a_check_that_ends_or_hangs_names_its_model_and_stops_no_trial(place: Path, bench: Bench) -> None:
    faults = ["raise", "os_exit", "segfault", "keyboard", "hang"]
    models = [f"tiny_{what}" for what in faults]
    done = bench(*RUN, *models, "other", "--timeout", "2", in_folder=place, FAULT=f"check_build:{'+'.join(faults)}")
    one_line(done, *(f"{model} will probably fail: " for model in models))
    assert record(place, "other").status == "ok" and record(place, "tiny_segfault").status == "ok"


def test_a_plugin_that_cannot_be_imported_or_asked_is_left_out_by_every_command(
    place: Path, command: Bench, undisturbed: dict[str, Any]
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
        done = command(*RUN, "other", "--timeout", "5", in_folder=place, FAULT=f"{where}:stem")
        assert done.returncode == 0
        one_line(done, *(f"plugins/{what}.py is left out: {says}" for what, says in faults.items()))
        assert compared(record(place, "other")) == undisturbed["other"]
    (place / "plugins" / "hang.py").unlink()  # other commands give it a minute
    for arguments in (("models",), ("report", "-q")):
        done = command(*arguments, in_folder=place, FAULT="import:stem")
        assert done.returncode == 0 and "Traceback" not in done.stderr


def test_what_a_plugin_does_when_it_is_imported_reaches_no_other_model(
    place: Path, command: Bench, undisturbed: dict[str, Any]
) -> None:
    for what in ("patch", "chdir", "environment", "recursion", "print"):
        shutil.copy(FAULTY, place / "plugins" / f"{what}.py")
    (place / "plugins" / "faulty.py").unlink()
    done = command(*RUN, "other", "--json", in_folder=place, FAULT="import:stem")
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
    (place / "hold").touch()
    run = start(*PLAIN, "tiny:held=3", "tiny", "other")
    run.until("epoch 1/3")
    (place / "plugins" / "faulty.py").write_text("from bench import")
    (place / "hold").unlink()
    status, said = run.end()
    assert status == 1 and "Traceback" not in said
    assert "tiny seed 0: error, unknown model 'tiny'" in said
    assert record(place, "tiny@held=3").status == "ok"
    assert record(place).status == "error"
    assert compared(record(place, "other")) == undisturbed["other"]

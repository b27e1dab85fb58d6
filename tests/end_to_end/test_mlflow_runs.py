"""Where MLFLOW_TRACKING_URI is set, the store that it names holds each trial as its record has it: a real store."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulted import RUN, Bench, Started, furnish, one_line
from mlflow import MlflowClient

from bench.events import EpochEnded, TrialEnded, TrialLeft, TrialStarted
from bench.plugins import load_plugins
from bench.records.quantities import with_plugins
from bench.records.record import Record, read_record

HISTORY = ("train_loss", "val_loss", "train_top1", "val_top1")
# What the user's process has imported by the time that a trial ends.
WITNESS = """
import sys
from pathlib import Path
from bench import hookimpl

@hookimpl
def bench_event(event):
    if type(event).__name__ == "TrialEnded":
        Path("imported.txt").write_text(" ".join({"torch", "mlflow"} & {*sys.modules}))
"""


HELD = "tiny:held=6"  # after two epochs of three batches: MLflow is told of them while it is imported
COMMAND = (*RUN, HELD, "other", "tiny_raise")
FAULT = {"FAULT": "forward:raise"}  # in the model tiny_raise


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with MLflow's tables."""
    named = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    MlflowClient(named).search_experiments()
    return named


@pytest.fixture(scope="module")
def cut(store: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Where a run was interrupted after two epochs of a model, beside which others ran; that one's run."""
    folder = furnish(tmp_path_factory.mktemp("tracked"))
    (folder / "plugins" / "witness.py").write_text(WITNESS)
    (folder / "hold").touch()
    run = Started(folder, *COMMAND, MLFLOW_TRACKING_URI=store, **FAULT)
    run.until(f"{HELD} epoch 2/3")  # the first is in the store by then
    os.killpg(run.process.pid, signal.SIGINT)
    status, said = run.end()
    (folder / "hold").unlink()
    assert status == 130 and "Traceback" not in said and "mlflow" not in said.lower(), said
    return folder, runs(store)[f"{HELD} seed 0"]


@pytest.fixture(scope="module")
def ran(cut: tuple[Path, Any], store: str, command: Bench) -> Path:
    """Where the same command went on, to its end."""
    folder, _ = cut
    done = command(*COMMAND, in_folder=folder, MLFLOW_TRACKING_URI=store, **FAULT)
    assert done.returncode == 1 and "mlflow" not in done.stderr.lower(), done.stderr  # one of the models fails
    assert f"{HELD} epoch 2/3" not in done.stderr
    return folder


def runs(store: str, experiment: str = "small") -> dict[str, Any]:
    """The runs of the experiment, by name."""
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = list(client.search_runs([found.experiment_id]))
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run for run in runs}


def curve(store: str, run: Any, name: str) -> list[tuple[int, float]]:
    return sorted((one.step, one.value) for one in MlflowClient(store).get_metric_history(run.info.run_id, name))


def record(folder: Path, name: str) -> Record:
    return read_record(folder / "results" / "small" / name / "seed0" / "record.json")


@pytest.mark.parametrize(("name", "folder"), [(HELD, "tiny@held=6"), ("other", "other")])
def test_a_run_has_what_its_record_has(name: str, folder: str, ran: Path, store: str) -> None:
    run, known = runs(store)[f"{name} seed 0"], record(ran, folder)
    assert run.info.status == "FINISHED"
    assert known.training is not None and known.environment is not None
    values = {one.key: value for one in with_plugins(known.quantities) if (value := one.value(known)) is not None}
    assert {"accuracy", "params", "gmacs", "memory", "total_seconds"} <= values.keys()
    last = {key: getattr(known.training.history, key)[-1] for key in HISTORY}
    assert run.data.metrics == values | last
    for key in HISTORY:
        assert curve(store, run, key) == list(enumerate(getattr(known.training.history, key), start=1))
    settings = {"protocol.fingerprint": known.protocol.fingerprint, "train.epochs": "3", "optimizer.name": "adam"}
    told = {"model": name, "base": name, "seed": "0", "data": "digits", "data.fingerprint": known.data.fingerprint}
    assert settings.items() | told.items() <= run.data.params.items()
    assert run.data.params.get("options.held") == ("6" if name == HELD else None)
    tags = {"bench.status": "ok", "bench.version": known.environment["bench"], "environment.device_kind": "cpu"}
    tags |= {"bench.record": str(ran / "results" / "small" / folder / "seed0" / "record.json")}
    tags |= {"mlflow.source.git.commit": known.environment["git"]["commit"]}
    assert tags.items() <= run.data.tags.items()
    kept = ran / run.info.artifact_uri
    assert {file.name for file in kept.iterdir()} == {"record.json", "predictions.npz"}
    assert read_record(kept / "record.json") == known


def test_a_trial_that_failed_is_failed_and_says_why(ran: Path, store: str) -> None:
    run = runs(store)["tiny_raise seed 0"]
    assert run.info.status == "FAILED"
    assert run.data.tags["bench.error"] == "ValueError: as it was told"
    assert (run.data.params["model"], run.data.tags["bench.status"]) == ("tiny_raise", "error")
    assert "accuracy" not in run.data.metrics and "train_loss" not in run.data.metrics


def test_the_process_that_the_user_starts_never_imports_torch(ran: Path) -> None:
    assert (ran / "imported.txt").read_text() == "mlflow"


def test_listing_imports_no_mlflow(command: Bench, tmp_path: Path, store: str) -> None:
    done = command("models", in_folder=tmp_path, MLFLOW_TRACKING_URI=store, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0 and "bench.plugins" in done.stderr and "mlflow" not in done.stderr


def test_an_interrupted_trial_is_killed_with_the_epochs_that_it_had(cut: tuple[Path, Any], store: str) -> None:
    _, run = cut
    assert run.info.status == "KILLED" and run.data.tags["bench.status"] == "interrupted"
    assert run.data.params["model"] == HELD and run.data.metrics["val_loss"] > 0


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_store_that_cannot_be_reached_costs_one_line(silent: str, place: Path, bench: Bench) -> None:
    waits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}  # the user's word on it counts
    done = bench(*RUN, "other", in_folder=place, MLFLOW_TRACKING_URI=silent, **waits)
    assert done.returncode == 0, done.stderr
    one_line(done, "plugin mlflow_tracking is asked no more, for its bench_event: the run goes on without MLflow")
    assert sum("mlflow" in line.lower() for line in done.stderr.splitlines()) == 1


# The plugin as it is told of events, without a command.


@pytest.fixture
def tell(store: str, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    registry = load_plugins((), tmp_path)
    return lambda *events: [failure for event in events for failure in registry.hear(event)]


def begun(folder: Path, protocol: str, tries: int = 1) -> TrialStarted:
    return TrialStarted("m", 0, epochs=2, index=1, total=1, protocol=protocol, folder=folder, tries=tries)


def epoch(number: int, loss: float) -> EpochEnded:
    return EpochEnded("m", 0, number, 2, loss, loss, 0.5, 1.0)


def ended(folder: Path, status: str = "crashed") -> TrialEnded:
    return TrialEnded("m", 0, status, 1.0, 1, 1, folder, message="ended by SIGKILL")


def test_epochs_that_are_computed_again_are_told_once_and_tries_not_at_all(
    tell: Callable[..., list[str]], store: str, tmp_path: Path
) -> None:
    again = (epoch(1, 3.0), epoch(2, 2.0), epoch(1, 3.0), epoch(2, 2.0))
    assert tell(begun(tmp_path, "again"), *again, ended(tmp_path)) == []
    (run,) = runs(store, "again").values()
    assert curve(store, run, "train_loss") == [(1, 3.0), (2, 2.0)]
    assert run.info.status == "FAILED" and run.data.tags["bench.error"] == "ended by SIGKILL"
    assert tell(begun(tmp_path / "tuned", "tuned", tries=2), *again, ended(tmp_path / "tuned")) == []
    (run,) = runs(store, "tuned").values()
    assert run.data.metrics == {}


def test_a_failed_run_is_replaced_when_its_trial_runs_again_and_another_run_s_is_left_alone(
    tell: Callable[..., list[str]], store: str, tmp_path: Path
) -> None:
    def ids() -> list[str]:
        return [run.info.run_id for run in runs(store, "replaced").values()]

    assert tell(begun(tmp_path, "replaced"), epoch(1, 3.0), ended(tmp_path)) == []
    (first,) = ids()
    assert tell(begun(tmp_path, "replaced"), TrialLeft("m", 0), ended(tmp_path, "ok")) == []
    assert ids() == [first]
    assert tell(begun(tmp_path, "replaced"), epoch(1, 2.0), ended(tmp_path, "ok")) == []
    (second,) = ids()
    assert second != first


def test_a_missing_mlflow_is_one_line_that_says_what_to_install(
    tell: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    (line,) = tell(begun(tmp_path, "missing"), epoch(1, 3.0), ended(tmp_path))
    assert line.endswith(
        "MLFLOW_TRACKING_URI is set, but mlflow is not installed: python -m pip install 'bench-image-models[mlflow]'"
    )


def test_where_no_store_is_named_nothing_is_done(
    tell: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert tell(begun(tmp_path, "none"), epoch(1, 3.0), ended(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []

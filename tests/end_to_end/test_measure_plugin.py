"""A plugin file with a measurement of its own: its values are in `run`'s records and in `measure`'s alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records.measurement import read_measurements
from bench.records.record import read_record
from bench.records.sessions import read_sessions

PLUGIN = '''"""Latency through another runtime: TorchScript, by tracing."""

from bench import MeasureSpec, Quantity, hookimpl


def script(subject):
    """What is timed, and how many pictures one call goes through."""
    import copy

    import torch

    images = torch.randn(1, 3, subject.image_size, subject.image_size, device=subject.device.torch_device)
    with torch.inference_mode():
        model = torch.jit.trace(copy.deepcopy(subject.model), images)
        torch.testing.assert_close(model(images), subject.model(images))

    @torch.inference_mode()
    def run():
        return model(images)

    return run, 1


def traced(subject):
    from bench.measure.latency import measure_latency

    run, _ = script(subject)
    seconds = 0.01 if subject.brief else 0.05
    return measure_latency({"": run}, subject.device, rounds=6, seconds=seconds)[""].as_dict()


def fails(subject):
    raise NotImplementedError("no such runtime here")


@hookimpl
def bench_measurements():
    latency = Quantity(
        key="traced_ms", label="traced latency (ms)", about="median time of one picture through TorchScript",
        path="p50", interval="ci95", rounds="rounds", disturbed="disturbed", kind="time", better="lower", unit="ms",
        series="torchscript",
    )
    yield MeasureSpec("torchscript", traced, (latency,), timed=script)
    yield MeasureSpec("fails", fails)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_plugins: Path) -> Path:
    """A working directory whose plugins/ has the tiny model and the measurements."""
    folder = tmp_path_factory.mktemp("runtime")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "tiny_model.py").write_text((tiny_plugins / "tiny_model.py").read_text())
    (folder / "plugins" / "runtime.py").write_text(PLUGIN)
    return folder


def holds(found: Any) -> bool:
    """Whether what was found has the plugin's quantity, and beside it the failure and what bench measured."""
    (quantity,) = found.quantities
    low, high = quantity.interval_in(found)
    return (
        quantity.key == "traced_ms"
        and 0 < low <= quantity.value(found) <= high
        and len(quantity.rounds_in(found)) == 6
        and found.plugins["fails"] == {"error": "NotImplementedError: no such runtime here"}
        and found.efficiency.errors is None
        and found.efficiency.latency_ms.p50 > 0
    )


def test_its_value_is_in_the_record_of_a_run(folder: Path, bench: Callable[..., Any]) -> None:
    small = ["data.image_size=8", "train.epochs=1", "train.limit=100", "data.test_limit=50", "name=small"]
    settings = [argument for setting in small for argument in ("--set", setting)]
    done = bench("run", "tiny", "--protocol", "quick", *settings, in_folder=folder)
    assert done.returncode == 0, done.stderr
    assert "tiny: fails could not be measured: NotImplementedError: no such runtime here" in done.stderr
    (file,) = (folder / "results").glob("small*/tiny/seed0/record.json")
    assert holds(read_record(file))
    (session,) = (folder / "results").glob("small*/timing/1.json")
    ((kept,), _) = read_sessions(session.parents[1])
    assert set(kept.session.models[0].series) == {"latency", "throughput", "step", "torchscript"}


def test_its_value_is_in_the_measurement_of_measure(folder: Path, bench: Callable[..., Any]) -> None:
    small = ["--image-size", "16", "--classes", "10", "--rounds", "6", "--train-batch", "4", "--batch", "1"]
    done = bench("measure", "tiny", *small, "--json", in_folder=folder)
    assert done.returncode == 0, done.stderr
    (found,), _ = read_measurements(folder / "results" / "measure")
    assert holds(found)
    assert json.loads(done.stdout)[0]["plugins"]["torchscript"] == found.plugins["torchscript"]
    page = (folder / "results" / "measure" / "README.md").read_text()
    assert "| traced latency (ms) |" in " ".join(page.split())
    assert "tiny: could not be measured: fails: NotImplementedError: no such runtime here." in page


def test_every_command_knows_its_quantity(folder: Path, bench: Callable[..., Any]) -> None:
    """After the run above: a column, a limit, a row."""
    results = next((folder / "results").glob("small*"))
    assert "traced latency (ms)" in (results / "README.md").read_text()
    limited = bench("recommend", "--protocol", results.name, "--max", "traced_ms=1h", in_folder=folder)
    assert limited.returncode == 2 and "traced_ms (traced latency (ms)) has no unit 'h'" in limited.stderr
    assert bench("recommend", "--protocol", results.name, "--max", "traced_ms=60s", in_folder=folder).returncode == 0
    document = json.loads(bench("compare", "tiny", "tiny", "--json", in_folder=folder).stdout)
    assert "traced_ms" in [change["quantity"] for change in document["compared"][0]["changes"]]


def test_it_can_be_asked_for_alone(folder: Path, bench: Callable[..., Any]) -> None:
    small = ["--image-size", "16", "--classes", "10", "--only", "torchscript"]
    (found,) = json.loads(bench("measure", "tiny", *small, "--json", in_folder=folder).stdout)
    assert set(found["plugins"]) == {"torchscript"}
    assert set(found["efficiency"].values()) == {None}


KILLER = '''"""A measurement that takes its process down with it."""

from bench import MeasureSpec, hookimpl


def kills(subject):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def bench_measurements():
    yield MeasureSpec("kills", kills)
'''


def test_a_process_that_is_killed_while_it_measures_loses_nothing_that_was_trained(
    tmp_path: Path, tiny_plugins: Path, bench: Callable[..., Any]
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "tiny_model.py").write_text((tiny_plugins / "tiny_model.py").read_text())
    (tmp_path / "plugins" / "killer.py").write_text(KILLER)
    small = ["data.image_size=8", "train.epochs=1", "train.limit=100", "data.test_limit=50", "name=small"]
    settings = [argument for setting in small for argument in ("--set", setting)]
    done = bench("run", "tiny", "--protocol", "quick", "--no-timing", "--jobs", "2", *settings, in_folder=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "small" / "tiny" / "seed0"
    record = read_record(folder / "record.json")
    assert record.status == "ok" and record.accuracy is not None
    assert "SIGKILL" in record.plugins["kills"]["error"]
    assert record.efficiency.errors is None and record.efficiency.macs
    assert {"model.safetensors", "predictions.npz", "pictures.npz"} <= {file.name for file in folder.iterdir()}
    again = bench("run", "tiny", "--protocol", "quick", "--no-timing", "--jobs", "2", *settings, in_folder=tmp_path)
    assert "already recorded in results/small: 1 of 1 trials" in again.stderr

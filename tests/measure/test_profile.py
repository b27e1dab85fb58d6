"""The profile: what is kept of it, and that the real TensorBoard shows its trace."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerator import Gpu
from torch import nn
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity

from bench.device import Device
from bench.measure import profile
from bench.measure.profile import ON_CPU, costliest_operators, covered, profile_training

CPU = Device("cpu")
PLUGIN = "data/plugin/pytorch_profiler/"


def profiled(folder: Path, device: Device = CPU) -> dict[str, Any]:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 30 * 30, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        images, labels = torch.randn(16, 3, 32, 32), torch.zeros(16, dtype=torch.long)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return profile_training(step, model, optimizer, device, folder, steps=3)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "quick" / "net" / "seed0"
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(json.dumps(profiled(folder)))
    return folder


@pytest.fixture(scope="module")
def summary(trial: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((trial / "profile.json").read_text())
    return found


def test_the_phases_share_the_whole_time(summary: dict[str, Any]) -> None:
    assert list(summary["phases"]) == ["data", "forward", "backward", "optimizer"]
    assert all(share > 0 for share in summary["phases"].values())
    assert sum(summary["phases"].values()) == pytest.approx(1)


def test_the_costliest_operators_come_first_and_are_counted_by_step(summary: dict[str, Any]) -> None:
    operators = {operator["name"]: operator for operator in summary["operators"]}
    assert len(summary["operators"]) == 10
    assert operators["aten::convolution_backward"]["calls"] == 1
    shares = [operator["share"] for operator in summary["operators"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1
    assert all("::" in name for name in operators)  # ranges and steps are no operators


def test_busy_is_a_share(summary: dict[str, Any]) -> None:
    assert 0 < summary["busy"] <= 1


def test_a_second_profile_takes_the_place_of_the_first(tmp_path: Path) -> None:
    first, second = profiled(tmp_path), profiled(tmp_path)
    assert first["trace"] != second["trace"]
    assert [file.name for file in tmp_path.iterdir()] == [second["trace"]]


def test_a_profile_s_folder_need_not_be_there(tmp_path: Path) -> None:
    found = profiled(tmp_path / "models" / "net")
    assert (tmp_path / "models" / "net" / found["trace"]).is_file()


def test_on_an_accelerator_operators_count_by_their_kernels_and_kernels_not_again() -> None:
    def average(key: str, device_time: float, on: Any = ON_CPU, annotation: bool = False) -> SimpleNamespace:
        return SimpleNamespace(
            key=key, count=4, self_device_time_total=device_time, self_cpu_time_total=1e9,
            device_type=on, is_user_annotation=annotation,
        )  # fmt: skip

    averages = [
        average("aten::relu", 1e6),
        average("aten::mm", 3e6),
        average("void at::native::gemm", 3e6, on=DeviceType.CUDA),
        average("cudaLaunchKernel", 5e6),
        average("bench::fake", 4e6, annotation=True),
    ]
    found = costliest_operators(averages, Device("cuda", accelerator=object()), steps=2)
    assert found == [
        {"name": "aten::mm", "calls": 2, "seconds": 1.5, "share": 0.75},
        {"name": "aten::relu", "calls": 2, "seconds": 0.5, "share": 0.25},
    ]


def test_overlapping_kernels_count_once() -> None:
    assert covered([(0, 10), (2, 5), (8, 12), (20, 21)]) == 13
    assert covered([]) == 0


@pytest.fixture(scope="module")
def tensorboard(trial: Path) -> Iterator[str]:
    """The real server over the results folder; gives its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(trial.parents[2])]
    options = ["--host", "127.0.0.1", "--port", "0", "--load_fast", "false"]
    log = trial.parents[2] / "server.log"
    with log.open("w") as output, subprocess.Popen(command + options, stdout=output, stderr=output) as server:
        try:
            yield wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+/", log.read_text()), log).group()
        finally:
            server.terminate()


def wait_for(condition: Any, log: Path, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)
    return found


def ask(address: str, path: str, **query: str) -> Any:
    # Straight to this machine, whatever proxy is set.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{address}{PLUGIN}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
        return json.load(answer)


def test_tensorboard_lists_the_trial_and_answers_overview_and_operators(tensorboard: str, trial: Path) -> None:
    log = trial.parents[2] / "server.log"

    def runs() -> list[str]:
        try:
            found = ask(tensorboard, "runs")
        except urllib.error.URLError:
            return []
        return [] if found["loading"] else list(found["runs"])

    run = "quick/net/seed0"
    assert wait_for(runs, log) == [run]
    assert {"Overview", "Operator", "Trace"} <= set(ask(tensorboard, "views", run=run))
    assert ask(tensorboard, "workers", run=run, view="Overview") == ["bench"]
    (span,) = ask(tensorboard, "spans", run=run, view="Overview", worker="bench")

    of = {"run": run, "worker": "bench", "span": span}
    overview = ask(tensorboard, "overview", **of, view="Overview")
    assert len(overview["steps"]["rows"]) == 3
    table = ask(tensorboard, "operation/table", **of, view="Operator", group_by="Operation")
    calls = {operator["name"]: operator["calls"] for operator in table["data"]}
    assert calls["aten::convolution_backward"] == 3


def test_where_the_profiler_sees_no_kernel_nothing_is_known_and_nothing_is_nought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "activities", lambda device: [ProfilerActivity.CPU])  # as without the right to
    found = profiled(tmp_path, Gpu())
    assert found["busy"] is None
    assert found["operators"] == []
    assert sum(found["phases"].values()) == pytest.approx(1)

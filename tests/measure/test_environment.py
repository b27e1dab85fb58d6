"""The environment: what it says can be stored, names no more than it knows, and never fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from accelerator import Nvml

from bench.device import Device
from bench.measure import environment as module
from bench.measure.environment import cpu_model, environment, git_state
from bench.measure.gpu import Gpu

CPU = Device("cpu")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_record_has_the_keys_that_the_schema_fixes_and_is_json() -> None:
    found = environment(CPU, precision="bf16")
    fixed = {"device", "device_kind", "torch", "timm", "cuda", "driver", "cpu", "threads", "git", "precision", "load"}
    assert fixed <= set(found)
    assert json.loads(json.dumps(found)) == found
    assert found["device_kind"] == "cpu"
    assert found["device"] == found["cpu"]
    assert found["precision"] == "bf16"
    assert found["threads"] == torch.get_num_threads()
    assert found["torch"] == torch.__version__
    assert found["driver"] is None


def test_the_processor_is_named_by_the_system(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast Chip: 9000\nflags\t: fpu\n")
    assert cpu_model(cpuinfo) == "Fast Chip: 9000"
    assert cpu_model(tmp_path / "absent")


def test_git_tells_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path) == {"commit": None, "dirty": False}
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    clean = git_state(tmp_path)
    assert clean is not None and len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "file").write_text("two")
    assert git_state(tmp_path) == {"commit": clean["commit"], "dirty": True}


def test_results_that_are_published_are_no_change_of_the_code(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("{}")
    git(tmp_path, "add", "results")
    git(tmp_path, "commit", "-m", "one")
    (tmp_path / "results" / "record.json").unlink()
    state = git_state(tmp_path)
    assert state is not None and state["dirty"] is False


def test_a_folder_inside_another_repository_is_not_that_repository(tmp_path: Path) -> None:
    git(tmp_path, "init")
    installed = tmp_path / "site-packages"
    installed.mkdir()
    assert git_state(installed) is None


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(module.__file__).parents[2]) is None


def test_what_nvml_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its driver and power limit, but no clocks, as some virtual GPUs do.
    nvml = Nvml(nvmlSystemGetDriverVersion="580.1", nvmlDeviceGetPowerManagementLimit=700_000)
    monkeypatch.setattr(module, "find_gpu", lambda device, nvml: Gpu("handle", nvml))
    found = environment(CPU, nvml=nvml)
    assert found["driver"] == "580.1"
    assert found["power_limit_watts"] == 700.0
    assert found["clocks_mhz"] is None

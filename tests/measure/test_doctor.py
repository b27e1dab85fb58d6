"""The doctor names what the machine lacks, and what would mend it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.device import Device
from bench.measure import doctor as module
from bench.measure.doctor import Finding, doctor

CPU = Device("cpu")


def missing(findings: list[Finding], text: str) -> list[Finding]:
    return [finding for finding in findings if text in finding.missing]


def test_doctor_names_a_missing_package_and_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODULES", (("no_such_module", "no-such-module>=1", "profile"),))
    (found,) = missing(doctor(CPU), "no_such_module")
    assert found == Finding("the package no_such_module", "profile", 'pip install "no-such-module>=1"')


def test_doctor_tells_unreadable_energy_counters_from_absent_ones(tmp_path: Path) -> None:
    (absent,) = missing(doctor(CPU, rapl_root=tmp_path), "RAPL")
    assert absent.fix is None
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir(parents=True)
    (locked,) = missing(doctor(CPU, rapl_root=tmp_path), "permission to read RAPL")
    assert locked.fix is not None and "chmod" in locked.fix


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is there")
def test_doctor_tells_a_missing_gpu_from_a_torch_without_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    driver = tmp_path / "version"
    assert missing(doctor(CPU, driver=driver), "an accelerator")
    driver.write_text("NVRM version")
    (found,) = missing(doctor(CPU, driver=driver), "CUDA in this build of torch")
    assert found.fix is not None and found.fix.startswith("pip install")


def test_doctor_says_that_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", lambda: [99.0, 0.0, 0.0])
    assert missing(doctor(CPU), "a quiet machine")
    monkeypatch.setattr(module, "load", lambda: [0.0, 99.0, 99.0])
    assert not missing(doctor(CPU), "a quiet machine")

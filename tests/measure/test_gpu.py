"""What an NVIDIA GPU says under load goes beside the times: clock, power, what slowed it, and who else computed."""

from __future__ import annotations

import pynvml
import pytest
from accelerator import Gpu as StandInGpu
from accelerator import Nvml

from bench.device import Device
from bench.measure import clock, energy
from bench.measure import doctor as examining
from bench.measure.clock import Watch
from bench.measure.doctor import doctor
from bench.measure.energy import UnmeasurableError
from bench.measure.gpu import Gpu, Load, find_gpu

HOT = pynvml.nvmlClocksEventReasonSwThermalSlowdown
AT_LIMIT = pynvml.nvmlClocksEventReasonSwPowerCap


def gpu(*, reasons: int = 0, processes: int = 1) -> Gpu:
    return Gpu(
        "handle",
        Nvml(
            nvmlDeviceGetClockInfo=1980,
            nvmlDeviceGetPowerUsage=612_000,
            nvmlDeviceGetCurrentClocksEventReasons=reasons,
            nvmlDeviceGetComputeRunningProcesses=[object()] * processes,
        ),
    )


@pytest.mark.parametrize(
    ("reasons", "processes", "slowed_by", "disturbed"),
    [
        (0, 1, (), None),
        (AT_LIMIT, 1, ("the power limit",), None),
        (HOT | AT_LIMIT, 1, ("the power limit", "heat"), "the GPU was slowed by heat"),
        (0, 3, (), "2 other processes computed on the GPU"),
        (0, 2, (), "1 other process computed on the GPU"),
        (0, 0, (), None),  # none is told of
    ],
)
def test_heat_and_others_disturb_and_full_load_does_not(
    reasons: int, processes: int, slowed_by: tuple[str, ...], disturbed: str | None
) -> None:
    load = gpu(reasons=reasons, processes=processes).load()
    assert load == Load(1980, 612.0, slowed_by, max(0, processes - 1))
    assert load.disturbed() == disturbed
    assert load.as_dict() == {"sm_mhz": 1980, "watts": 612.0, "slowed_by": list(slowed_by)}


def test_what_a_gpu_does_not_tell_is_none() -> None:
    load = Gpu("handle", Nvml()).load()
    assert load == Load(None, None, (), None)
    assert load.disturbed() is None


def test_a_watch_asks_the_gpu_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "find_gpu", lambda device: gpu(reasons=HOT))
    monkeypatch.setattr(clock, "cpu_seconds", lambda: (0.0, 0.0, 0.0))
    with Watch(StandInGpu()) as watch:
        assert watch.load is None
    assert watch.as_dict() == {
        "disturbed": "the GPU was slowed by heat",
        "gpu": {"sm_mhz": 1980, "watts": 612.0, "slowed_by": ["heat"]},
    }
    assert watch.others == 1  # its block does not count


def test_a_cpu_has_no_gpu() -> None:
    assert find_gpu(Device("cpu"), Nvml()) is None
    with Watch(Device("cpu")) as watch:
        pass
    assert watch.as_dict()["gpu"] is None


def test_energy_of_a_gpu_that_is_divided_is_not_measured_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Subject:
        device = StandInGpu()

    monkeypatch.setattr(energy, "find_gpu", lambda device, nvml=None: Gpu("handle", Nvml(nvmlDeviceGetMigMode=[1, 1])))
    with pytest.raises(UnmeasurableError, match="MIG"):
        energy.measure(Subject())  # type: ignore[arg-type]


def test_doctor_tells_what_only_the_owner_may_set(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Gpu("handle", Nvml(nvmlDeviceGetPersistenceMode=0, nvmlDeviceGetMaxClockInfo=1980))
    monkeypatch.setattr(examining, "find_gpu", lambda device: own)
    fixes = [finding.fix for finding in doctor(StandInGpu())]
    assert "sudo nvidia-smi -pm 1" in fixes
    assert "sudo nvidia-smi -lgc 1980 before, sudo nvidia-smi -rgc afterwards" in fixes


def test_doctor_checks_what_compiling_for_a_gpu_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    found = {finding.missing: finding.affects for finding in doctor(StandInGpu())}
    assert found["a C compiler"] == found["Python.h"] == "run, measure: --compile on cuda"
    assert "a C++ compiler" in {finding.missing for finding in doctor(Device("cpu"))}

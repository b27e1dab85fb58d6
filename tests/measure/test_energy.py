"""Energy: a fake RAPL tree and a fake NVML, whose counters the measured function itself moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.device import Device
from bench.measure.energy import NvmlMeter, RaplMeter, find_meter, joules_per_image, rapl_domains

CPU = Device("cpu")


class NVMLError(Exception):
    pass


class FakeNvml:
    """NVML with one GPU, whose energy counter is `millijoules`."""

    NVMLError = NVMLError

    def __init__(self, counts: bool = True) -> None:
        self.millijoules = 5000
        self.counts = counts

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return f"handle of {uuid}"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        if not self.counts:
            raise NVMLError("not supported")
        return self.millijoules


class Gpu(Device):
    """A CUDA device by name, on a machine without one."""

    nvml_uuid = "GPU-1"  # type: ignore[assignment]

    def synchronize(self) -> None:
        pass


def rapl_tree(root: Path, energy: int = 0, largest: int = 1_000_000) -> Path:
    """A powercap tree with one package, a subdomain of it, and the platform's domain that contains both."""
    for folder, name in [("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:1", "psys")]:
        domain = root / folder
        domain.mkdir(parents=True)
        (domain / "name").write_text(f"{name}\n")
        (domain / "energy_uj").write_text(f"{energy}\n")
        (domain / "max_energy_range_uj").write_text(f"{largest}\n")
    return root


def spend(root: Path, microjoules: int, largest: int = 1_000_000) -> None:
    """Move the package's counter as the kernel does: past the largest value it starts at zero."""
    counter = root / "intel-rapl:0" / "energy_uj"
    counter.write_text(str((int(counter.read_text()) + microjoules) % (largest + 1)))


def test_only_whole_packages_count(tmp_path: Path) -> None:
    assert [domain.name for domain in rapl_domains(rapl_tree(tmp_path))] == ["intel-rapl:0"]


def test_rapl_energy_is_divided_among_runs_and_images(tmp_path: Path) -> None:
    root = rapl_tree(tmp_path)
    meter = find_meter(CPU, root)
    # 400 microjoules a run of 8 images: 50 each. However often it runs, the counter does not overflow.
    joules = joules_per_image(lambda: spend(root, 400), 8, CPU, meter, seconds=0)
    assert joules == pytest.approx(50e-6)


def test_a_counter_that_starts_again_at_zero_is_followed(tmp_path: Path) -> None:
    root = rapl_tree(tmp_path, energy=999_900)
    meter = RaplMeter(rapl_domains(root))
    before = meter.read()
    spend(root, 300)
    assert meter.read() < before
    assert meter.joules(before, meter.read()) == pytest.approx(300e-6)


def test_several_packages_are_added(tmp_path: Path) -> None:
    domains = (rapl_tree(tmp_path / "a") / "intel-rapl:0", rapl_tree(tmp_path / "b") / "intel-rapl:0")
    meter = RaplMeter(domains)
    before = meter.read()
    spend(tmp_path / "a", 100)
    spend(tmp_path / "b", 20)
    assert meter.joules(before, meter.read()) == pytest.approx(120e-6)


def test_without_a_counter_nothing_is_run_and_energy_is_not_measured(tmp_path: Path) -> None:
    ran: list[int] = []
    assert find_meter(CPU, tmp_path) is None
    assert joules_per_image(lambda: ran.append(1), 1, Device("mps", accelerator=object())) is None
    assert ran == []


def test_unreadable_counters_are_left_out(tmp_path: Path) -> None:
    root = rapl_tree(tmp_path)
    (root / "intel-rapl:0" / "energy_uj").unlink()
    (root / "intel-rapl:0" / "energy_uj").mkdir()  # reading it fails for root, too
    assert rapl_domains(root) == ()


def test_nvml_energy_is_the_difference_of_its_counter() -> None:
    nvml = FakeNvml()
    gpu = Gpu("cuda", accelerator=object())
    meter = find_meter(gpu, nvml=nvml)
    assert meter == NvmlMeter("handle of GPU-1", nvml)

    def run() -> None:
        nvml.millijoules += 640

    assert joules_per_image(run, 32, gpu, meter, seconds=0) == pytest.approx(0.02)


def test_energy_begins_and_ends_on_a_step_of_the_counter() -> None:
    """A counter that moves every 7 runs shows exactly what 7 runs took, though it is asked in between."""
    nvml, ran = FakeNvml(), 3
    gpu = Gpu("cuda", accelerator=object())

    def run() -> None:
        nonlocal ran
        ran += 1
        if ran % 7 == 0:
            nvml.millijoules += 7 * 500

    assert joules_per_image(run, 1, gpu, NvmlMeter("handle", nvml), seconds=0) == 0.5


def test_a_gpu_without_counter_is_not_measured() -> None:
    assert find_meter(Gpu("cuda", accelerator=object()), nvml=FakeNvml(counts=False)) is None


def test_an_accelerator_that_is_not_nvidias_is_not_measured() -> None:
    assert find_meter(Device("mps", accelerator=object()), nvml=FakeNvml()) is None

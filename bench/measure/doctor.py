"""What this machine lacks, for which command, and what would mend it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from bench.device import Device, why_no_cuda
from bench.measure.energy import RAPL, find_meter
from bench.measure.environment import load
from bench.measure.gpu import Gpu, find_gpu

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


# Module, the pip requirement that brings it, what does not work without it.
MODULES = (
    ("tensorboard", "tensorboard>=2.21", "run: TensorBoard's curves; profile: its viewer"),
    ("torch_tb_profiler", "torch-tb-profiler>=0.4.3", "profile: the profiler's views in TensorBoard"),
)


@dataclass(frozen=True)
class Finding:
    """What is `missing`, what it `affects`, and a command or an act that would `fix` it (None: nothing here would)."""

    missing: str
    affects: str
    fix: str | None


def doctor(device: Device, rapl_root: Path = RAPL, driver: Path = NVIDIA_DRIVER) -> list[Finding]:
    """What this machine lacks, for which command, and what would fix it; an empty list where nothing is lacking.

    Nothing is downloaded, and no network is asked.
    """
    findings = [
        Finding(f"the package {module}", affects, f'pip install "{requirement}"')
        for module, requirement, affects in MODULES
        if importlib.util.find_spec(module) is None
    ]
    if not torch.accelerator.is_available():
        findings.append(_no_accelerator(driver))
    if find_meter(device, rapl_root) is None:
        findings.append(_no_energy(device, rapl_root))
    findings += _for_compiling(device)
    if device.kind == "cuda" and (gpu := find_gpu(device)) is not None:
        findings += _for_steady_clocks(gpu)
    if shutil.which("git") is None:
        findings.append(
            Finding("git", "run, measure: records carry no commit", "install git (Debian: apt install git)")
        )
    now, cores = load(), psutil.cpu_count() or 1
    if now is not None and now[0] > 0.5 * cores:
        busy = f"a quiet machine: {now[0]:.1f} processes were running on {cores} cores in the last minute"
        findings.append(Finding(busy, "measure: times are disturbed, and say so", "stop the other processes, or wait"))
    return findings


def _for_compiling(device: Device) -> list[Finding]:
    """What torch.compile builds its kernels with: on a CPU in C++; for a GPU Triton builds a launcher in C."""
    affects = f"run, measure: --compile on {device.kind}"
    if not device.is_accelerator:
        names, kind, package = ("c++", "g++", "clang++"), "C++", "g++"
    else:
        names, kind, package = ("cc", "gcc", "clang"), "C", "gcc"
    found = []
    if not any(shutil.which(name) for name in names):
        found.append(Finding(f"a {kind} compiler", affects, f"install {package} (Debian: apt install {package})"))
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        found.append(Finding("Python.h", affects, "install Python's headers (Debian: apt install python3-dev)"))
    return found


def _for_steady_clocks(gpu: Gpu) -> list[Finding]:
    """What only the machine's owner may set, so that times repeat. bench never does."""
    found = []
    if gpu.persistent is False:
        affects = "run: each trial waits a second or more for the driver to start"
        found.append(Finding("persistence mode of the GPU", affects, "sudo nvidia-smi -pm 1"))
    if (clock := gpu.most_mhz) is not None:
        affects = "measure, run: times move with the GPU's clock, which is recorded beside them"
        fix = f"sudo nvidia-smi -lgc {clock} before, sudo nvidia-smi -rgc afterwards"
        found.append(Finding("a GPU clock that is held still (unless it is: bench cannot see that)", affects, fix))
    return found


def _no_accelerator(driver: Path) -> Finding:
    affects = "run: `--all` takes the protocol quick; cifar10 is meant for a GPU"
    if driver.is_file() and torch.version.cuda is None:
        missing = f"CUDA in this build of torch ({torch.__version__}), though an NVIDIA driver is there"
        return Finding(missing, affects, "pip install --force-reinstall torch torchvision")
    if driver.is_file():
        missing = f"a GPU that torch can use, though an NVIDIA driver is there ({why_no_cuda()})"
        return Finding(missing, affects, "update the driver, or install the torch that was built for it")
    return Finding("an accelerator (torch finds no CUDA, ROCm, XPU or MPS)", affects, None)


def _no_energy(device: Device, rapl_root: Path) -> Finding:
    affects = 'measure, run: energy is "not measured"'
    if device.is_accelerator:
        return Finding("an energy counter (NVML tells none for this device)", affects, None)
    locked = [domain for domain in rapl_root.glob("intel-rapl:*") if (domain / "energy_uj").exists()]
    if locked:
        return Finding("permission to read RAPL", affects, f"sudo chmod a+r {rapl_root}/intel-rapl:*/energy_uj")
    return Finding("RAPL (this processor, system or virtual machine shows no energy counter)", affects, None)

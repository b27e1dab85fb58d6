"""Where a number was measured: hardware, software, load and settings; and what this machine lacks.

Nothing here fails: what cannot be found out is None. Sizes in bytes, frequencies in MHz, power in watts.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pynvml
import torch

from bench.device import WORKSPACE, Device
from bench.files import DISTRIBUTION
from bench.measure.gpu import find_gpu

PACKAGES = ("torch", "torchvision", "timm", "fvcore", "numpy")
CPUINFO = Path("/proc/cpuinfo")
CHECKOUT = Path(__file__).resolve().parents[2]


def environment(
    device: Device, precision: str = "fp32", checkout: Path = CHECKOUT, nvml: Any = pynvml
) -> dict[str, Any]:
    """The record's `environment`: device, software, load now, and the settings that change speed or rounding.

    `checkout` is the folder whose git commit is recorded: by default the one bench lies in.
    """
    cpu = cpu_model()
    return {
        "device": device.name if device.is_accelerator else cpu,
        "device_kind": device.kind,
        **_gpu(device, nvml),
        "cpu": cpu,
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "cpu_mhz": _cpu_mhz(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        # Read once by OpenMP and oneDNN, and decisive beside other processes and other models; null: their defaults.
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "gomp_spincount": os.environ.get("GOMP_SPINCOUNT"),
        "onednn_primitive_cache_capacity": os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY"),
        "memory": psutil.virtual_memory().total,
        "load": load(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "bench": version(DISTRIBUTION),
        **{package: version(package) for package in PACKAGES},
        "cuda": torch.version.cuda,
        "git": git_state(checkout),
        "precision": precision,
        "kernels": _kernels(device, precision),
        "tf32": {
            "matmul": torch.backends.cuda.matmul.fp32_precision == "tf32",
            "convolution": torch.backends.cudnn.conv.fp32_precision == "tf32",  # type: ignore[attr-defined]
        },
    }


def _kernels(device: Device, precision: str | None) -> dict[str, Any]:
    """By which kernels this process computes: whether cuDNN tries which is fastest for each shape (`tuned`), or only
    those are taken that always give the same (`deterministic`); and how a repeat on this machine agrees.
    `unfused_attention`, `depthwise_fp32`, `depthwise_by_places` and `convolutions_by_products`: whether attention that
    is trained is computed by single operations, some depthwise convolutions in float32 and those of few places as sums
    over them, and convolutions of many weights by matrix products.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    backends: Any = torch.backends
    attention = {
        "flash": backends.cuda.flash_sdp_enabled,
        "memory_efficient": backends.cuda.mem_efficient_sdp_enabled,
        "cudnn": backends.cuda.cudnn_sdp_enabled,
        "math": backends.cuda.math_sdp_enabled,
    }
    on_cuda = device.kind == "cuda"
    others = precision is not None and device.takes_other_kernels(precision)
    return {
        "tuned": torch.backends.cudnn.benchmark,
        "deterministic": deterministic,
        "repeats": "to the bit" if deterministic or not device.is_accelerator else "to noise",
        "cudnn": backends.cudnn.version() if on_cuda else None,
        "attention": [name for name, is_enabled in attention.items() if is_enabled()] if on_cuda else None,
        "unfused_attention": others,
        "depthwise_fp32": others,
        "depthwise_by_places": others,
        "convolutions_by_products": others and precision == "bf16",
        "cublas_workspace": os.environ.get(WORKSPACE[0]),
        "allocator": os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF"),
    }


def cpu_model(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name as the system tells it, or its architecture."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load() -> list[float] | None:
    """Mean number of runnable processes over the last 1, 5 and 15 minutes; None where the system keeps none."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def version(package: str) -> str | None:
    """The installed version of `package`; None where it is not installed (bench run from a checkout)."""
    if package == "torch":
        return str(torch.__version__)  # with its build: 2.13.0+cpu
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(checkout: Path) -> dict[str, Any] | None:
    """`commit` (None before the first), and whether tracked files, results aside, are `dirty`; None outside a git
    checkout."""
    top = _git(checkout, "rev-parse", "--show-toplevel")
    # A wheel installed inside some other repository is not that repository's commit.
    if top is None or Path(top) != checkout.resolve():
        return None
    status = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    return {"commit": _git(checkout, "rev-parse", "--verify", "HEAD"), "dirty": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # Without optional locks, so that `status` does not write to an index someone else is using.
        command = ["git", "--no-optional-locks", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_mhz() -> int | None:
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return round(frequency.current) if frequency is not None else None


def _gpu(device: Device, nvml: Any) -> dict[str, Any]:
    """Driver, clocks and power limit of an NVIDIA GPU; None each elsewhere, or where NVML does not tell."""
    facts: dict[str, Any] = {"driver": None, "clocks_mhz": None, "power_limit_watts": None, "device_memory": None}
    gpu = find_gpu(device, nvml)
    if gpu is None:
        return facts
    handle, ask = gpu.handle, gpu.ask

    def clocks() -> dict[str, int]:
        return {
            "graphics": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_GRAPHICS),
            "graphics_max": nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_GRAPHICS),
            "memory": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        }

    facts["driver"] = ask(nvml.nvmlSystemGetDriverVersion)
    facts["clocks_mhz"] = ask(clocks)
    facts["power_limit_watts"] = ask(lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1e3)
    facts["device_memory"] = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
    return facts

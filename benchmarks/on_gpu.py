"""Ten minutes on a GPU: whether what bench promises of one holds there, a line a check, and what each model costs.

    python benchmarks/on_gpu.py [--device cuda] [--out on_gpu.json] [--small]

Needs nothing but this repository and what it depends on. Each line says held, broken or not run, with the figure; the
last lines are a table of training steps: what starts them and what computes them. All of it, with the machine, goes
into the JSON file. With --device cpu it checks what makes sense there; --small does that in two minutes. Exit status 1
where anything is broken.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from bench.device import Device, choose_device
from bench.events import Tell, tell_nobody
from bench.measure.allocations import quiet_kineto
from bench.measure.clock import warm_up
from bench.measure.energy import find_meter
from bench.measure.environment import environment
from bench.measure.gpu import find_gpu
from bench.measure.profile import activities
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.run.executors import follow
from bench.run.executors.local import Local
from bench.run.prepare import prepare_device, prepare_model
from bench.run.untrained import random_batches
from bench.train.graph import WARM_UP, Graph
from bench.train.loop import Trainer, make_trainer

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = ("vit_tiny", "vgg19_bn")
# The model of --small: built, trained and measured in seconds.
SMALL = """from bench import ModelSpec, hookimpl


def build(*, num_classes, image_size, pretrained):
    from torch import nn
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(4), nn.Flatten()
    return nn.Sequential(*layers)


@hookimpl
def bench_models():
    yield ModelSpec("small", build, family="cnn")
"""
# Of the table: model, image size, batch, further settings.
CASES = (
    ("vit_tiny", 32, 128, ["model.options={patch_size=4}"]),
    ("densenet121", 32, 128, []),
    ("densenet201", 32, 128, []),
    ("vgg19_bn", 32, 128, []),
    ("deit_tiny_distilled", 224, 64, []),
    ("deit_base_distilled", 224, 64, []),
)
SMALL_CASES = (("vit_tiny", 32, 16, ["model.options={patch_size=8}"]),)


@dataclass
class Found:
    """What a check came to: `held` is None where it was not run; `figure` says what was seen, or why not."""

    check: str
    held: bool | None
    figure: str
    seconds: float = 0.0


class Place:
    """Where this runs: the device, a scratch folder, and how much is done."""

    def __init__(self, device: str, small: bool, folder: Path) -> None:
        self.device, self.small, self.folder = device, small, folder
        self.on_gpu = device != "cpu"
        self.models = ("small",) if small else MODELS
        (folder / "plugins").mkdir()
        (folder / "plugins" / "small.py").write_text(SMALL)

    def settings(self) -> list[str]:
        """Of every training here: short, and with a name of its own."""
        few = ["train.limit=100", "train.epochs=3"] if self.small else ["train.epochs=6"]
        return [part for one in [*few, "name=check"] for part in ("--set", one)]

    def command(self, results: str, *more: str) -> list[str]:
        """`python -m bench run` of the models, with results in a folder of that name."""
        return [
            sys.executable, "-m", "bench", "run", *self.models, "--protocol", "quick", "--device", self.device,
            "--results", str(self.folder / results), "--plugins", str(self.folder / "plugins"), "--no-timing",
            *self.settings(), *more,
        ]  # fmt: skip

    def run(self, results: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(self.command(results, *more), cwd=REPOSITORY, capture_output=True, text=True, check=False)

    def trial(self, results: str, model: str) -> Path:
        """The folder of that model's trial."""
        return next((self.folder / results).glob(f"check*/{model}/seed*"))

    def record(self, results: str, model: str) -> dict[str, Any]:
        """Its record."""
        found: dict[str, Any] = json.loads((self.trial(results, model) / "record.json").read_text())
        return found

    def weights_differ(self, one: str, other: str) -> dict[str, float]:
        """By model, the largest difference of any weight between two results folders."""
        found = {}
        for model in self.models:
            a, b = (load_file(self.trial(each, model) / "model.safetensors") for each in (one, other))
            found[model] = max(float((a[name].double() - b[name].double()).abs().max()) for name in a)
        return found


def preload_starts_no_cuda(place: Place) -> Found:
    """What trials are forked from has imported torch, and neither started CUDA nor asked it for its devices."""
    started = follow(Local().run(importlib.import_module(Path(__file__).stem)._cuda_started), tell_nobody)
    return Found("CUDA is not started before a trial forks", not started, f"started: {started}")


def _cuda_started(emit: Tell) -> bool:
    return torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork()


def cuda_tests(place: Place) -> Found:
    """The tests that are marked so."""
    name = "pytest tests -m cuda"
    if not place.on_gpu:
        return Found(name, None, "needs a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests", "-m", "cuda"], cwd=REPOSITORY, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return Found(name, None if "No module named pytest" in done.stderr else done.returncode == 0, said[-1])


def a_run_is_complete(place: Place) -> Found:
    """A run leaves records in which nothing is missing, and times that are of a working device."""
    done = place.run("once")
    name = f"run {' '.join(place.models)}: records are complete"
    if done.returncode:
        return Found(name, False, done.stderr.strip().splitlines()[-1])
    missing, said = [], []
    for model in place.models:
        record = place.record("once", model)
        found, training = record["efficiency"], record["training"]
        wanted = ["macs", "memory", "latency_ms", "throughput", "train_step", "profile"]
        missing += [f"{model} {key}" for key in wanted if found.get(key) is None]
        missing += [f"{model} {key}: {why}" for key, why in (found.get("errors") or {}).items()]
        if place.on_gpu:
            missing += [] if found["profile"]["busy"] else [f"{model} profile.busy"]
            missing += [] if (found["latency_ms"].get("gpu") or {}).get("sm_mhz") else [f"{model} clock under load"]
            missing += [] if found["latency_ms"].get("graph") else [f"{model} {found['latency_ms'].get('no_graph')}"]
            missing += [] if training["graph"]["used"] else [f"{model} {training['graph']['why']}"]
        first, *others = training["epoch_seconds"]
        said.append(f"{model} first epoch {first:.2f} s, then {statistics.median(others):.2f} s")
    return Found(name, not missing, "; ".join(missing or said))


def a_repeat_agrees(place: Place) -> Found:
    """The same seed twice, by fast kernels."""
    place.run("twice")
    apart = place.weights_differ("once", "twice")
    same = not any(apart.values())
    said = ", ".join(f"{model} {value:.2g}" for model, value in apart.items())
    promised = "to noise" if place.on_gpu else "to the bit"
    return Found(f"a repeat agrees {promised}", same or place.on_gpu, f"largest difference of a weight: {said}")


def a_killed_run_goes_on(place: Place) -> Found:
    """Under --deterministic, killed after its second epoch and started again, with the GPU full of another's between.

    A run that was not killed has to give the same: so that is a repeat, too.
    """
    name = "--deterministic repeats to the bit, a killed run that goes on too"
    done = place.run("whole", "--deterministic")
    if done.returncode:
        why = [place.record("whole", model)["error"] for model in place.models]
        return Found(name, False, str(next(filter(None, why), done.stderr[-200:])))
    command = place.command("killed", "--deterministic")
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if " epoch 2/" in line:
            break
    time.sleep(0.5)  # its checkpoint is on its way
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    trial = next((place.folder / "killed").glob("check*/*/seed*"))
    before = {file.name: file.read_bytes() for file in trial.glob("*.pt")}
    full = ""
    if place.on_gpu:
        with _filled(place.device):
            place.run("killed", "--deterministic")
        kept = {file.name: file.read_bytes() for file in trial.glob("*.pt")}
        full = f"; while the GPU was full: checkpoint {'kept' if kept == before else 'changed'}"
    done = place.run("killed", "--deterministic")
    if done.returncode or not before:
        return Found(name, False, f"exit status {done.returncode}, checkpoints {sorted(before)}")
    apart = place.weights_differ("whole", "killed")
    said = ", ".join(f"{model} {value:.2g}" for model, value in apart.items())
    held = not any(apart.values()) and "changed" not in full
    return Found(name, held, f"largest difference of a weight: {said}{full}")


class _filled:  # noqa: N801 — used as a function
    """Another process holds nearly all of the GPU's memory."""

    def __init__(self, device: str) -> None:
        self._code = (
            f"import torch, time; torch.ones(1, device={device!r}); free, _ = torch.cuda.mem_get_info(); "
            f"held = torch.empty(int(free - 300e6), dtype=torch.uint8, device={device!r}); print(1, flush=True); "
            "time.sleep(600)"
        )

    def __enter__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", self._code], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def precisions_mean_what_they_say(place: Place) -> Found:
    """fp32 is IEEE's for products and convolutions, tf32 shorter for both: seen in what they compute, and how fast."""
    name = "fp32 is IEEE's for products and convolutions, tf32 for neither"
    if not place.on_gpu or not choose_device(place.device).multiplies_tf32:
        return Found(name, None, "needs an NVIDIA GPU since Ampere")
    said, errors = [], {}
    for precision in ("fp32", "tf32"):
        device, _ = prepare_device(place.device, precision)
        generator = torch.Generator().manual_seed(0)
        matrix = torch.randn(2048, 2048, generator=generator).to(device.torch_device)
        exact = (matrix.double() @ matrix.double()).float()
        images, kernel = matrix.view(16, 64, 64, 64), matrix[:64, :576].reshape(64, 64, 3, 3)
        convolved = torch.nn.functional.conv2d(images.double(), kernel.double(), padding=1).float()
        product = _relative(matrix @ matrix, exact)
        convolution = _relative(torch.nn.functional.conv2d(images, kernel, padding=1), convolved)
        errors[precision] = (product, convolution)
        seconds = _seconds(lambda matrix=matrix: matrix @ matrix, device)
        said.append(f"{precision}: errors {product:.1g} and {convolution:.1g}, product {1e3 * seconds:.2f} ms")
    held = max(errors["fp32"]) < 1e-5 < min(errors["tf32"])
    return Found(name, held, "; ".join(said))


def _relative(one: torch.Tensor, exact: torch.Tensor) -> float:
    return float((one - exact).abs().max() / exact.abs().max())


def energy_is_power_over_time(place: Place) -> Found:
    """The energy counter against the power that the GPU reports meanwhile."""
    name = "the energy counter agrees with power over time to 10 %"
    device = choose_device(place.device)
    gpu, meter = find_gpu(device), find_meter(device)
    if gpu is None or meter is None or gpu.is_partitioned:
        return Found(name, None, "no counter here")
    matrix = torch.randn(4096, 4096, device=device.torch_device)
    seconds, watts = (3.0 if place.small else 20.0), []
    before, start = meter.read(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(20):
            matrix @ matrix
        device.synchronize()
        watts.append(gpu.load().watts or 0.0)
    took, joules = time.perf_counter() - start, meter.joules(before, meter.read())
    ratio = joules / (took * statistics.fmean(watts))
    said = f"{joules:.0f} J in {took:.1f} s, {ratio:.3f} times {statistics.fmean(watts):.0f} W"
    return Found(name, abs(ratio - 1) < 0.1, said)


CHECKS: tuple[Callable[[Place], Found], ...] = (
    preload_starts_no_cuda,
    cuda_tests,
    a_run_is_complete,
    a_repeat_agrees,
    a_killed_run_goes_on,
    precisions_mean_what_they_say,
    energy_is_power_over_time,
)


# The table


def table(place: Place) -> Iterator[dict[str, Any]]:
    """What a training step costs, in bf16: the launches that start it, and seconds eager, as a graph and compiled."""
    device, precision = prepare_device(place.device, "auto")
    for name, size, batch, more in SMALL_CASES if place.small else CASES:
        overrides = [
            "model.weights=scratch", "train.what=full", f"data.image_size={size}", f"train.batch_size={batch}", *more
        ]  # fmt: skip
        protocol = load_protocol("cifar10-scratch", overrides)
        row: dict[str, Any] = {"model": name, "image_size": size, "batch": batch, "precision": precision}
        try:
            model = prepare_model(load_plugins().model(name), protocol, 10, 0, device)
            eager = make_trainer(model, protocol, 100, precision, device)
            fetch = random_batches(batch, size, 10, device)
            row["eager_seconds"] = _seconds(partial(_step, eager, fetch), device)
            row |= _launched(partial(_step, eager, fetch), device)
            if device.has_graphs:
                graph = Graph(device)
                replayed = replace(eager, graph=graph)
                for _ in range(WARM_UP + 1):
                    _step(replayed, fetch)
                row |= {"graph": graph.record()}
                row["graph_seconds"] = None if graph.why_not else _seconds(partial(_step, replayed, fetch), device)
            if not place.small:
                compiled = replace(eager, forward=torch.compile(model))
                row["compiled_seconds"] = _seconds(partial(_step, compiled, fetch), device)
        except Exception as error:  # one case must not cost the others
            row["error"] = f"{type(error).__name__}: {error}".partition("\n")[0]
        yield row
        device.release_memory()


def _step(trainer: Trainer, fetch: Callable[[], Any]) -> None:
    trainer.step(*fetch())


def _seconds(run: Callable[[], object], device: Device) -> float:
    """Of one run, of many that follow each other without waiting."""

    def clock() -> float:
        device.synchronize()
        return time.perf_counter()

    warm_up(run, clock, least=0.5)
    means = []
    for _ in range(5):
        start, count = clock(), 0
        while time.perf_counter() - start < 0.2:
            run()
            count += 1
        means.append((clock() - start) / count)
    return statistics.median(means)


def _launched(run: Callable[[], object], device: Device) -> dict[str, Any]:
    """Kernels that one run starts, and seconds that they compute; null where the profiler sees none."""
    quiet_kineto()
    with torch.profiler.profile(activities=activities(device), acc_events=True) as profiler:
        run()
        device.synchronize()
    averages = profiler.key_averages()
    launches = sum(one.count for one in averages if "LaunchKernel" in one.key)
    computing = sum(one.self_device_time_total for one in averages) / 1e6
    return {"launches": launches or None, "device_seconds": computing or None}


def main() -> None:
    """Check, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("on_gpu.json"))
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Place(given.device, given.small, Path(folder))
        for check in CHECKS:
            start = time.perf_counter()
            try:
                one = check(place)
            except Exception as error:  # what is broken in a way that nobody thought of is broken
                one = Found(check.__name__, False, f"{type(error).__name__}: {error}")
            one.seconds = time.perf_counter() - start
            found.append(one)
            word = {True: "held   ", False: "BROKEN ", None: "not run"}[one.held]
            print(f"{word} {one.check}: {one.figure}", flush=True)
        rows = []
        for row in table(place):
            rows.append(row)
            print(", ".join(f"{key} {_said(value)}" for key, value in row.items()), flush=True)
    device, precision = prepare_device(given.device, "auto")
    document = {"environment": environment(device, precision), "checks": [asdict(one) for one in found], "steps": rows}
    given.out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written: {given.out}")
    sys.exit(1 if any(one.held is False for one in found) else 0)


def _said(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()

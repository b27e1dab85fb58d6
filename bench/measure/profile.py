"""Where a few training steps spend their time: torch.profiler's trace, and what is worth keeping of it.

The trace is for TensorBoard with torch-tb-profiler (`tensorboard --logdir FOLDER`); the summary is for the
record. Profiling slows a step down, small operators most: shares are to be trusted, absolute times are not.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from bench.device import Device
from bench.files import write_bytes
from bench.hookspecs import Subject
from bench.measure.allocations import quiet_kineto
from bench.measure.subject import PHASES, phases_told

STEPS = 3
COSTLIEST = 10
# Its traces' names begin so; torch's default is the host's name, which is nobody's business.
WORKER = "bench"
TRACES = f"{WORKER}.*.pt.trace.json.gz"
RANGE = "bench: "
ON_CPU = torch._C._autograd.DeviceType.CPU


def measure(subject: Subject) -> dict[str, Any]:
    """Profile a few training steps; the trace goes into the subject's folder."""
    training = subject.training
    found = profile_training(
        lambda: training.step(*training.batch()),
        training.model,
        training.optimizer,
        subject.device,
        subject.folder,
        steps=1 if subject.brief else STEPS,
        shapes=not subject.brief,
    )
    return {"profile": found}


def profile_training(
    step: Callable[[], object],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: Device,
    folder: Path,
    steps: int = STEPS,
    *,
    shapes: bool = True,
) -> dict[str, Any]:
    """Profile `steps` training steps after one to warm up; write the trace into `folder`, in place of an earlier one.

    `step` is as `subject.py` describes it. `shapes`: whether the trace has those of each operator's inputs, which takes
    half as long again. Returns
    - `trace`: the name of the trace's file in `folder`;
    - `steps`, `seconds`: how many were profiled, and how long one took under the profiler;
    - `phases`: the share of data, forward, backward, optimizer in the time, which add up to 1;
    - `operators`: the ten costliest, {name, calls (a step), seconds (a step, without the operators that it
      calls), share} of the device's time, or the CPU's where that is the device; none where no time was seen;
    - `busy`: on an accelerator the share of the time in which a kernel ran, None where the profiler saw none of them
      (it may not be allowed to); on the CPU the share of its threads' time in which they computed.
    """
    quiet_kineto()
    for earlier in folder.glob(TRACES):
        earlier.unlink()
    ranges = _Ranges(device)
    started = computed = 0.0
    with (
        phases_told(model, optimizer, ranges.begins),
        profile(
            activities=activities(device),
            schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
            on_trace_ready=partial(_write_trace, folder),
            record_shapes=shapes,
        ) as profiler,
    ):
        for number in range(1 + steps):
            if number == 1:
                started, computed = time.perf_counter(), time.process_time()
            ranges.begins("data")
            step()
            ranges.end()
            if number == steps:
                seconds, computed = time.perf_counter() - started, time.process_time() - computed
            profiler.step()
    (trace,) = folder.glob(TRACES)
    averages = profiler.key_averages()
    if device.is_accelerator:
        running = _kernel_seconds(profiler)
        busy = None if running is None else running / seconds
    else:
        busy = computed / seconds / torch.get_num_threads()
    return {
        "trace": trace.name,
        "steps": steps,
        "seconds": seconds / steps,
        "phases": _phases(averages),
        "operators": costliest_operators(averages, device, steps),
        "busy": None if busy is None else min(1.0, busy),
    }


def _write_trace(folder: Path, profiler: profile) -> None:
    """As torch's handler for TensorBoard does, which compresses line by line: that takes three times as long."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        whole = Path(scratch) / "trace.json"
        profiler.export_chrome_trace(str(whole))
        compressed = gzip.compress(whole.read_bytes(), compresslevel=6)
    write_bytes(folder / f"{WORKER}.{time.time_ns()}.pt.trace.json.gz", compressed)


def activities(device: Device) -> list[ProfilerActivity]:
    """What the profiler watches: the CPU, and the accelerator where it is the device and can be watched."""
    if not device.is_accelerator:
        return [ProfilerActivity.CPU]
    return list(torch.profiler.supported_activities())  # type: ignore[no-untyped-call]


class _Ranges:
    """Marks each phase in the trace, from one synchronised moment to the next."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._open: record_function | None = None

    def begins(self, phase: str) -> None:
        self.end()
        self._open = record_function(RANGE + phase)
        self._open.__enter__()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        self._device.synchronize()
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None


def _phases(averages: Iterable[Any]) -> dict[str, float]:
    spent = dict.fromkeys(PHASES, 0.0)
    for average in averages:
        phase = average.key.removeprefix(RANGE)
        # On an accelerator a range appears a second time, as the device's.
        if average.key.startswith(RANGE) and phase in spent:
            spent[phase] = max(spent[phase], average.cpu_time_total)
    whole = sum(spent.values())
    return {phase: time_spent / whole for phase, time_spent in spent.items()}


def costliest_operators(averages: Iterable[Any], device: Device, steps: int) -> list[dict[str, Any]]:
    def microseconds(average: Any) -> float:
        return float(average.self_device_time_total if device.is_accelerator else average.self_cpu_time_total)

    # Operators have a namespace; ranges, steps and the runtime's own calls have none. A kernel may have
    # one, but its time is already that of the operator which started it.
    operators = [a for a in averages if "::" in a.key and not a.is_user_annotation and a.device_type == ON_CPU]
    whole = sum(map(microseconds, operators))
    if not whole:
        return []
    return [
        {
            "name": operator.key,
            "calls": operator.count / steps,
            "seconds": microseconds(operator) / 1e6 / steps,
            "share": microseconds(operator) / whole,
        }
        for operator in sorted(operators, key=microseconds, reverse=True)[:COSTLIEST]
    ]


def _kernel_seconds(profiler: profile) -> float | None:
    """Seconds in which at least one kernel ran on the accelerator; None where no kernel was seen."""
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    events = results.events() if results is not None else []
    spans = sorted(
        (event.start_ns(), event.end_ns())
        for event in events
        if event.device_type() != ON_CPU and not event.is_user_annotation()
    )
    return covered(spans) / 1e9 if spans else None


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """The length that intervals, sorted by their starts, cover together."""
    length, reached = 0, 0
    for start, end in spans:
        length += max(0, end - max(start, reached))
        reached = max(reached, end)
    return length

"""The table of measurements made without training, and a profile in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.files import write_bytes
from bench.records.efficiency import Efficiency, Latency, Memory, Step, Throughput, others_alone
from bench.records.machine import described
from bench.records.measurement import Measurement, read_measurements
from bench.records.quantities import BY_KEY, Quantity, with_plugins
from bench.report.artifact import Artifact
from bench.report.text.markup import Cell, Table, written
from bench.report.text.numbers import with_interval

HOW_TO_READ = (
    "Fewest MACs first. GMACs: billions of multiply-accumulates of one picture's forward pass; train GMACs: of its "
    "share of a training step; M act.: million output elements of convolutions and matrix products; latency: "
    "milliseconds for one picture, the median with its 95 % interval, and the 99th percentile; images/s: the best "
    "over batch sizes, and at which; step: one training step (Adam) of the batch in brackets; peak MB: 10⁶ bytes. "
    "† says that the machine disturbed a measurement; the record says how. Empty: not measured."
)
HEADERS = [
    "model", "params (M)", "GMACs", "train GMACs", "M act.", "latency (ms)", "p99 (ms)", "images/s",
    "step (s)", "train peak MB", "inference peak MB", "J/image",
]  # fmt: skip


def measure_table(measurements: Iterable[Measurement]) -> Table:
    """One row a model, fewest MACs first, failed ones last; behind bench's own columns those of plugins."""
    ordered = sorted(
        measurements,
        key=lambda one: (one.status != "ok", one.efficiency.macs or 0, one.model["name"]),
    )
    plugins = _plugin_quantities(ordered)
    headers = [*HEADERS, *(quantity.label for quantity in plugins), "status"]
    rows = [
        [Cell(text) for text in (*_row(one), *(_shown(quantity, one) for quantity in plugins), _status(one))]
        for one in ordered
    ]
    return Table(headers, rows, frozenset({0, len(headers) - 1}))


def _plugin_quantities(measurements: Sequence[Measurement]) -> list[Quantity]:
    """What plugins measured of any of them."""
    known = with_plugins(quantity for one in measurements for quantity in one.quantities)
    return [one for one in known if one.key not in BY_KEY and any(one.value(own) is not None for own in measurements)]


def _shown(quantity: Quantity, one: Measurement) -> str:
    value = quantity.value(one)
    if value is None:
        return ""
    text = with_interval(quantity, value, *(quantity.interval_in(one) or (None, None)))
    return f"{text} †" if quantity.disturbed_in(one) else text


def _status(one: Measurement) -> str:
    return one.status if one.error is None else f"{one.status}: {one.error.message}"[:60]


def explained(measurements: Sequence[Measurement]) -> str:
    """The table with how to read it, the conditions, and what disagreed or was not counted."""
    return "\n\n".join(
        [
            written(measure_table(measurements), "plain"),
            HOW_TO_READ,
            *_warnings(measurements),
            _conditions(measurements[0]),
        ]
    )


def artifacts(folder: Path, measurements: Sequence[Measurement]) -> Iterator[Artifact]:
    """README.md of the folder `measure/`, where there are measurements."""
    if measurements:
        yield Artifact(folder / "README.md", partial(measure_page, tuple(measurements)))


def write_measure_page(folder: Path) -> None:
    """Write README.md of a `measure/` folder, as `report` does."""
    measurements, _ = read_measurements(folder)
    if measurements:
        write_bytes(folder / "README.md", measure_page(measurements))


def measure_page(measurements: Iterable[Measurement]) -> bytes:
    """README.md of measurements: one table for each set of conditions."""
    groups: dict[str, list[Measurement]] = {}
    for one in measurements:
        groups.setdefault(_conditions(one), []).append(one)
    parts = ["# Measurements without training", HOW_TO_READ]
    for conditions, group in groups.items():
        parts += [f"## {group[0].settings['image_size']} pixels, {group[0].settings['precision']}", conditions]
        parts += [written(measure_table(group), "markdown"), *_warnings(group)]
    return ("\n\n".join(parts) + "\n").encode()


def profile_text(measurement: Measurement) -> str:
    """Where the training steps spent their time, and on which operators."""
    profile = measurement.efficiency.profile
    if profile is None:
        return f"not profiled: {measurement.error.message if measurement.error else 'no reason is known'}"
    shares = ", ".join(f"{phase} {share:.0%}" for phase, share in profile.phases.items())
    rows = [
        [Cell(one["name"]), Cell(f"{one['calls']:g}"), Cell(f"{1e3 * one['seconds']:.2f}"), Cell(f"{one['share']:.1%}")]
        for one in profile.operators
    ]
    table = written(Table(["operator", "calls/step", "ms/step", "share"], rows), "plain")
    busy = "not seen" if profile.busy is None else f"{profile.busy:.0%}"
    return (
        f"{measurement.model['name']}: {profile.steps} training steps of {measurement.settings['train_batch']}, "
        f"{profile.seconds:.3f} s each under the profiler: {shares}; device busy: {busy}.\n\n{table}"
    )


def _row(one: Measurement) -> list[str]:
    found = one.efficiency
    memory, latency, step = found.memory or Memory(), found.latency_ms, found.train_step
    fastest, energy = found.best_throughput, found.energy_joules
    return [
        one.model["name"],
        _scaled(one.model["params"], 1e6, 2),
        _scaled(found.macs, 1e9, 3),
        _scaled(found.training_macs, 1e9, 3),
        _scaled(found.activations, 1e6, 2),
        f"{_scaled(latency.p50, 1, 1)}{_between(latency.ci95)}{_mark(latency)}" if latency else "",
        _scaled(latency.p99, 1, 1) if latency else "",
        f"{_fastest(found, fastest)}{_mark(fastest)}" if fastest else "",
        f"{_scaled(step.seconds, 1, 3)} ({step.batch}){_mark(step)}" if step else "",
        _scaled(memory.train_peak, 1e6, 0),
        _scaled(memory.least_inference, 1e6, 0),
        _scaled(energy.inference_per_image, 1, 3) if energy else "",
    ]


def _fastest(found: Efficiency, best: Throughput) -> str:
    """With ≥ where a larger batch than was tried may be faster."""
    last = found.throughput[-1] if found.throughput else None
    least = "≥" if best is last and found.throughput_limited_by in ("list", "time") else ""
    return f"{least}{best.images_per_second:.1f} at {best.batch}"


def _scaled(value: float | None, unit: float, decimals: int) -> str:
    return "" if value is None else f"{value / unit:.{decimals}f}"


def _between(ends: tuple[float, float] | None) -> str:
    return f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else ""


def _mark(measured: Latency | Throughput | Step) -> str:
    return " †" if others_alone(measured.disturbed) else ""


def _warnings(measurements: Iterable[Measurement]) -> list[str]:
    """A line for each model whose count is in doubt, whose measurement the machine disturbed, or that has none."""
    lines = []
    for one in measurements:
        check = one.efficiency.macs_cross_check
        if check is not None and not check.agrees:
            lines.append(f"{one.model['name']}: the two counters of MACs differ by {check.difference:.2%}.")
        measured = {"latency_ms": one.efficiency.latency_ms, "train_step": one.efficiency.train_step}
        seen = {name: others_alone(found.disturbed) for name, found in measured.items() if found}
        disturbed = [f"{name}: {why}" for name, why in seen.items() if why]
        disturbed += [
            f"{quantity.key}: {why}" for quantity in one.quantities if (why := quantity.disturbed_in(one)) is not None
        ]
        if disturbed:
            lines.append(f"† {one.model['name']}: {'; '.join(disturbed)}.")
        failed = dict(one.efficiency.errors or {})
        failed |= {name: own["error"] for name, own in one.plugins.items() if isinstance(own, dict) and "error" in own}
        if failed:
            said = "; ".join(f"{name}: {error}" for name, error in failed.items())
            lines.append(f"{one.model['name']}: could not be measured: {said}.")
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _conditions(one: Measurement) -> str:
    settings = one.settings
    order = ", channels-last" if settings["channels_last"] else ""
    compiled = ", compiled" if settings["compile"] else ""
    return (
        f"Measured on {described(one.environment)}; {settings['image_size']} pixels, {settings['classes']} classes"
        f"{order}{compiled}. Energy is " + ("in joules." if one.efficiency.energy_joules else "not measured.")
    )

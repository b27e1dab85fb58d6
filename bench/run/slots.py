"""Where the trials of a run go: so many at once, each on a device of its own, or several on one. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import RequestError
from bench.records.identity import Way
from bench.request import Ready, RunOptions


@dataclass(frozen=True)
class Slots:
    """The device of each trial that is under way at once; so many of them share one, a CPU's threads among them.

    `threads` is None beside an accelerator, where they do not decide over what is shown.
    """

    devices: tuple[str, ...]
    sharing: int
    threads: int | None


def slots(ready: Ready, jobs: int | None) -> Slots:
    """So many slots on the devices that are ready, by default one on each. RequestError for less than one."""
    count = len(ready.devices) if jobs is None else jobs
    if count < 1:
        raise RequestError(f"--jobs {count}: at least one trial has to run at once")
    sharing = -(-count // len(ready.devices))
    taken = tuple(ready.devices[number % len(ready.devices)] for number in range(count))
    return Slots(taken, sharing, max(1, ready.threads // sharing) if ready.device == "cpu" else None)


def way(ready: Ready, options: RunOptions, where: Slots) -> Way:
    """How trials with those options would run there."""
    return Way(
        ready.device,
        where.threads,
        options.compile,
        options.frozen_prefix,
        deterministic=options.deterministic,
        compile_mode=options.compile_mode,
        without_graphs=ready.device == "cuda" and not options.graphs,
        sharing=where.sharing,
    )

"""Where the trials of a run go: so many at once, each on a device of its own, or several on one. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import RequestError
from bench.hookspecs import Room
from bench.records.identity import Way
from bench.request import Devices, RunOptions


@dataclass(frozen=True)
class Slots:
    """The device of each trial that is under way at once; so many of them share one, a CPU's threads among them.

    `threads` is None beside an accelerator, where they do not decide over what is shown.
    """

    devices: tuple[str, ...]
    sharing: int
    threads: int | None


def slots(devices: Devices, jobs: int | None, room: Room | None = None) -> Slots:
    """So many slots: by default one on each of the devices, or as many as an executor has room for.

    RequestError for less than one.
    """
    names = devices.names
    count = (len(names) if room is None else room.trials) if jobs is None else jobs
    if count < 1:
        raise RequestError(f"--jobs {count}: at least one trial has to run at once")
    sharing = -(-count // len(names)) if room is None else min(count, room.sharing)
    threads = max(1, devices.threads // sharing) if room is None else room.threads
    taken = tuple(names[number % len(names)] for number in range(count))
    return Slots(taken, sharing, threads if devices.kind == "cpu" else None)


def way(devices: Devices, options: RunOptions, where: Slots) -> Way:
    """How trials with those options would run there."""
    return Way(
        devices.kind,
        where.threads,
        options.compile,
        options.frozen_prefix,
        deterministic=options.deterministic,
        compile_mode=options.compile_mode,
        without_graphs=devices.kind == "cuda" and not options.graphs,
        sharing=where.sharing,
    )

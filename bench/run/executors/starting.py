"""Starting the executor that a run names, with what of the run's options it takes, and ending it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from bench.errors import RequestError
from bench.hookspecs import Executor, ExecutorSpec, Room
from bench.request import RunRequest

# The run's options that an executor may take.
OPTIONS = ("ray_address", "cpus_per_trial", "gpus_per_trial")


@contextmanager
def started(spec: ExecutorSpec, request: RunRequest) -> Iterator[Executor]:
    """The executor, closed in the end. RequestError for an option that it does not take."""
    chosen = {name: value for name in OPTIONS if (value := getattr(request, name)) is not None}
    takes = inspect.signature(spec.start).parameters
    for name in chosen:
        if name not in takes:
            option = name.replace("_", "-")
            raise RequestError(f"--{option}: executor {spec.name} takes no such option; leave it out")
    executor = spec.start(**chosen)
    try:
        yield executor
    finally:
        close = getattr(executor, "close", None)
        if close is not None:
            close()


def room_of(executor: Executor) -> Room | None:
    """What it says of its room; None where this machine's devices say it."""
    room: Room | None = getattr(executor, "room", None)
    return room

"""Doing packed work on another machine: what it needs is put together in a folder, and what it changed is sent back.

The work itself runs as it does at home, in a process of its own: whatever it does reaches nothing else there.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from bench.data.receive import Read, received, received_file
from bench.errors import RequestError
from bench.events import Event, Tell
from bench.files import WRITES, cache_folder
from bench.hookspecs import DiedError, TimedOutError
from bench.request import Weights
from bench.run import keep
from bench.run.executors.local import Local
from bench.run.executors.parcels import Parcel, State, changes, moved, state, unpacked

# Seconds between looks for a checkpoint that is to go home.
HOME = 5.0

# Seconds that an event may wait for others, to be sent with them: sending costs milliseconds.
GATHER = 0.2

# Of a piece of work: `event`, `files` (changed ones, and which are gone), and last `answer` or `error`.
Item = tuple[str, Any]


def do(
    parcel: Parcel, log: Path | None, timeout: float | None, read: Read, environment: dict[str, str], home: float = HOME
) -> Iterator[Item | None]:
    """Do the work; `read` reads the sender's files, `environment` is what the work's process finds there besides.

    `log` is a path at the sender's, within the work's folder. Gives None where nothing happens for a moment.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as base:
        root, plugins = unpacked(parcel, Path(base))
        here = Path(base) / "here"
        here.mkdir()
        before = state(root)
        try:
            stored = None if parcel.stored is None else (yield from _events(received(parcel.stored, read)))
            weights = None if parcel.weights is None else (yield from _events(_weights(parcel.weights, read)))
            work = partial(_at_work, moved(parcel, root, plugins, here, stored, weights), here, environment)
            if log is not None:
                assert parcel.root is not None
                log = root / log.absolute().relative_to(parcel.root.absolute())
                log.parent.mkdir(parents=True, exist_ok=True)
            answer = yield from _done(Local().run(work, log=log, timeout=timeout), root, before, home)
        except (RequestError, DiedError, TimedOutError) as error:
            last: Item = "error", error
        else:
            last = "answer", answer
        if parcel.root is not None:
            keep.settle(root)
            yield "files", changes(root, before)
        yield last


def gathered(items: Iterator[Item | None], wait: float = GATHER) -> Iterator[list[Item]]:
    """The items, several at once where they come in quick succession."""
    held: list[Item] = []
    sent = time.monotonic()
    for item in items:
        held += () if item is None else (item,)
        if held and time.monotonic() - sent >= wait:
            yield held
            held, sent = [], time.monotonic()
    if held:
        yield held


def _done(
    work: Generator[Event | None, None, Any], root: Path, before: State, home: float
) -> Generator[Item | None, None, Any]:
    """The work's answer; its events, and now and then its checkpoints, with which `before` is brought up to date."""
    looked = time.monotonic()
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value
        yield None if event is None else ("event", event)
        if time.monotonic() - looked > home:
            with suppress(FileNotFoundError):  # the trial has just removed it: it is over
                found = {name: one for name, one in state(root).items() if fnmatch(name, "checkpoint-*.pt")}
                new = {name: (root / name).read_bytes() for name, one in found.items() if one != before.get(name)}
                if new:
                    yield "files", (new, ())
                    before |= found
            looked = time.monotonic()


def _events(work: Generator[Event, None, Any]) -> Generator[Item, None, Any]:
    while True:
        try:
            yield "event", next(work)
        except StopIteration as end:
            return end.value


def _weights(weights: Weights, read: Read) -> Generator[Event, None, Weights]:
    file = yield from received_file(weights.file, weights.sha256, cache_folder() / "weights", read)
    return replace(weights, file=file)


def _at_work(work: Callable[[Tell], Any], here: Path, environment: dict[str, str], emit: Tell) -> Any:
    """In the work's own process, before anything of a device is asked."""
    WRITES.durable = False  # this folder ends with this machine: what is written is made sure of where it goes home
    os.chdir(here)
    os.environ.update(environment)
    return work(emit)

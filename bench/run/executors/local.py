"""Does work in processes of this machine: starting them, hearing from them, ending them.

A server process imports torch and timm once, and each piece of work is a fork of it: isolation costs a few
hundredths of a second instead of the seconds that the imports take. Work that crashes, is killed or takes too long
ends its own process only.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar, cast

from bench.errors import RequestError
from bench.events import Event, Tell
from bench.hookspecs import DiedError, TimedOutError

T = TypeVar("T")

# What every trial needs, imported once, in this order. timm takes longest.
PRELOADED = [
    "bench.run.executors.patience", "bench.run.trial", "bench.run.check", "timm",
    "sklearn.model_selection", "tensorboard.plugins.hparams.summary_v2",
]  # fmt: skip


class Local:
    """The executor of this machine: see bench.hookspecs.Executor."""

    def run(
        self, work: Callable[[Tell], T], *, log: Path | None = None, timeout: float | None = None
    ) -> Generator[Event, None, T]:
        """Call `work(emit)` in a process of its own, begun when the first event is asked for."""
        receiver, process = _start(work, log)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not wait([receiver], left):
                    raise TimedOutError
                try:
                    kind, message = receiver.recv()
                except EOFError:
                    process.join()
                    raise DiedError(_how_it_died(process.exitcode)) from None
                if kind == "error":
                    raise message
                if kind == "answer":
                    return cast(T, message)
                yield message
        finally:
            _stop(process)
            receiver.close()


def _context() -> Any:
    """Forks of a server that has imported what trials need; new processes where the system cannot fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(PRELOADED)
    return chosen


def _start(work: Callable[[Tell], Any], log: Path | None) -> tuple[Connection, BaseProcess]:
    """The process at work, and the end of its pipe that gives what it sends."""
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, log, sender), daemon=True)
    with _interrupts_held():
        process.start()
    sender.close()  # else the pipe would stay open when the process dies
    return receiver, process


def _stop(process: BaseProcess) -> None:
    process.join(0.2)
    if process.is_alive():
        process.kill()  # it may be deep in a kernel, where no signal is handled
        process.join()


class _interrupts_held:  # noqa: N801 — used as a function
    """Ctrl-C waits: the server must not be started with half a request, and must not die of it."""

    def __enter__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else None

    def __exit__(self, *_: object) -> None:
        if self.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def _work(work: Callable[[Tell], Any], log: Path | None, sender: Connection) -> None:
    """In the new process: call, and send what is emitted and what comes of it."""
    import bench.run.executors.patience  # noqa: F401 — for its effect, where no server has imported it

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one who started us decides
    _redirect(log)
    try:
        answer = work(lambda event: sender.send(("event", event)))
        sender.send(("answer", answer))
    except RequestError as error:
        sender.send(("error", error))
    sys.stdout.flush()
    sys.stderr.flush()


def _redirect(log: Path | None) -> None:
    """Everything printed from here on, by C++ too, goes to the log, and never through the progress bar."""
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


def _how_it_died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = "; the system does that where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit status {exitcode}"

"""Does work in processes of this machine: starting them, hearing from them, ending them.

A server process imports torch and timm once, and each piece of work is a fork of it: isolation costs a few
hundredths of a second instead of the seconds that the imports take. Work that crashes, is killed or takes too long
ends its own process only.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any, TypeVar, cast

import psutil

from bench.errors import RequestError
from bench.events import Event, Tell
from bench.files import WRITES, unwritten
from bench.hookspecs import DiedError, TimedOutError

T = TypeVar("T")

# The exit status of a process whose parent is gone; nobody reads it.
ORPHANED = 3

# Seconds that work which has answered may take to end: leaving a GPU takes most of one.
LEAVING = 10.0
# That work which is stopped may take to end the writing of a file: the checkpoint of the last epoch.
FINISHING = 5.0

# Seconds without an event after which whoever follows is asked whether to go on.
BEAT = 0.2
# So many of them one waits for an interrupt where work was ended by a signal that is sent to all.
INTERRUPTED = 3

# What every trial needs, imported once, in this order. timm takes longest.
PRELOADED = [
    "bench.run.executors.patience", "bench.run.executors.hush", "bench.run.trial", "bench.run.check", "timm",
    "tensorboard.plugins.hparams.summary_v2", "tensorboard.summary.writer.record_writer", "scipy.special",
    "bench.measure.macs", "bench.measure.memory", "bench.measure.profile", "bench.run.executors.timers",
    "bench.run.executors.away",  # of trials on another machine: with it, 12 ms of each
    "bench.run.executors.settled",
]  # fmt: skip


class Local:
    """The executor of this machine: see bench.hookspecs.Executor.

    What works ends with the process that started it: each has a line to it, and dies when that is cut.
    """

    def run(
        self, work: Callable[[Tell], T], *, log: Path | None = None, timeout: float | None = None
    ) -> Generator[Event | None, None, T]:
        """Call `work(emit)` in a process of its own, begun when the first event is asked for.

        Where there is no `log`, what it printed last is told if it dies.
        """
        with nullcontext(log) if log is not None else _scratch() as printed:
            return (yield from self._run(work, printed, timeout, told=log is None))

    def _run(
        self, work: Callable[[Tell], T], printed: Path, timeout: float | None, *, told: bool
    ) -> Generator[Event | None, None, T]:
        line, process = _start(work, printed)
        answered = False
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        try:
            while True:
                # Its end is noticed by itself, too: a child of it may hold the line open.
                if not wait([line, process.sentinel], min(BEAT, max(0.0, deadline - time.monotonic()))):
                    if time.monotonic() >= deadline:
                        raise TimedOutError
                    yield None
                    continue
                try:
                    if not line.poll():
                        raise EOFError
                    kind, message = line.recv()
                except (EOFError, OSError, UnpicklingError):  # cut, within a message perhaps
                    _has_ended(process)
                    for _ in range(INTERRUPTED if process.exitcode in _TO_ALL else 0):
                        time.sleep(BEAT)  # it may have been sent to us, too, and then it is an interrupt
                        yield None
                    last = _last_line(printed) if told else ""
                    raise DiedError(_how_it_died(process.exitcode) + (f": {last}" if last else "")) from None
                answered = kind in ("error", "answer")
                if kind == "error":
                    raise message
                if kind == "answer":
                    return cast(T, message)
                yield message
        finally:
            if answered:
                _stop(process, LEAVING)
            line.close()  # at which it ends, if it has not
            _stop(process, FINISHING + 1)


# How work ends by a signal that a shell or a batch system sends to every process of a job.
_TO_ALL = {-signal.SIGTERM, -signal.SIGHUP} if os.name == "posix" else set()


def _context() -> Any:
    """Forks of a server that has imported what trials need; new processes where the system cannot fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(PRELOADED)
    return chosen


def _start(work: Callable[[Tell], Any], log: Path) -> tuple[Connection, BaseProcess]:
    """The process at work, and this end of the line to it."""
    context = _context()
    here, there = context.Pipe()
    # No daemon: a plugin may start processes of its own, such as a DataLoader's.
    process = context.Process(target=_work, args=(work, log, there, dict(os.environ)), daemon=False)
    try:
        with _interrupts_held(), _without_main():
            process.start()
    except (EOFError, OSError) as error:  # the server died while it started, or there is no memory for another process
        here.close()
        why = f": {error}" if str(error) else ""
        raise DiedError(f"its process could not be started{why}; the machine may be out of memory") from None
    finally:
        there.close()  # else the line would stay open when the process dies
    return here, process


def _stop(process: BaseProcess, seconds: float) -> None:
    """Let it end by itself for so long; then it is ended, and what it has started."""
    if not _has_ended(process, seconds):
        _kill_children(process.pid)
        process.kill()  # it may be deep in a kernel, where no signal is handled
        _has_ended(process)


def _has_ended(process: BaseProcess, seconds: float | None = None) -> bool:
    """Whether it has, after no more than so long."""
    wait([process.sentinel], seconds)
    # How it ended can be read but once, and whoever starts another process reads it of all of them.
    with _ASKING:
        process.join(0)
        return process.exitcode is not None


def _kill_children(pid: int | None = None) -> None:
    """Of the process, by default this one."""
    with suppress(psutil.NoSuchProcess):  # it has just ended
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


class _interrupts_held:  # noqa: N801 — used as a function
    """Ctrl-C and its kin wait: the server must not be started with half a request, and must not die of it.

    They wait in the server, too, which is started within, and in its forks until these say what becomes of them.
    """

    def __enter__(self) -> None:
        self.mask = None
        if os.name == "posix":
            resource_tracker.ensure_running()  # its start, which the server's would be the first to need, lets them in
            self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

    def __exit__(self, *_: object) -> None:
        if self.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


# Held while a process is started, or asked whether it has ended.
_ASKING = threading.Lock()


@contextmanager
def _without_main() -> Iterator[None]:
    """What is started within it needs nothing of the user's script, which is not run once more in each process.

    So a script needs no `if __name__ == "__main__"`, and need be no file.
    """
    with _ASKING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _work(work: Callable[[Tell], Any], log: Path, line: Connection, environment: dict[str, str]) -> None:
    """In the new process: call, and send what is emitted and what comes of it."""
    from bench.run.executors import hush, patience  # noqa: F401 — where no server has imported them

    # The server's variables are those of when it was started; a notebook's may have changed since.
    for name in os.environ.keys() - environment.keys() - set(patience.NAMES):
        del os.environ[name]
    os.environ.update(environment)
    # Both reach the whole group, and the server hands its own on; the one who started us decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, partial(_end_by, os.getpid()))
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    try:
        _redirect(log)
        answer = work(lambda event: line.send(("event", event)))
        line.send(("answer", answer))
    except RequestError as error:
        line.send(("error", error))
    except BrokenPipeError:  # whoever started us is gone, and _end_with is about to notice
        os._exit(ORPHANED)
    sys.stdout.flush()
    sys.stderr.flush()


def _end_with(line: Connection) -> None:
    """End this process when the one that started it is gone: once what it is writing is written, or cannot be."""
    # Nothing is ever sent this way: what can be read is the end.
    wait([line])
    _finish()
    os._exit(ORPHANED)


def _finish() -> None:
    """What is being written is written, or cannot be; nothing that was started here lives on."""
    WRITES.wait(FINISHING)
    _kill_children()


def _end_by(worker: int, number: int, _: object) -> None:
    """The signal ends this process: once what it is writing is written, or cannot be; one forked of it, at once."""

    def end() -> None:
        if os.getpid() == worker:
            _finish()
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=end, daemon=True).start()  # what is being written may be this thread's own


def _redirect(log: Path) -> None:
    """Everything printed from here on, by C++ too, goes to the log, and never through the progress bar."""
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise unwritten(log, error) from None
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A file for what is printed, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "log.txt"


def _last_line(file: Path) -> str:
    """Of what was printed: of a traceback that is the error."""
    try:
        lines = file.read_text(errors="replace").split("\n")
    except OSError:  # it died before it had any
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _how_it_died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = "; the system does that where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit status {exitcode}"

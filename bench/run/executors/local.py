"""Runs each trial in a process of its own on this machine, one after another.

A server process imports torch and timm once, and each trial is a fork of it: isolation costs a few
hundredths of a second instead of the seconds that the imports take. A trial that crashes, is killed
or takes too long ends its own process only; its record is then written here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RequestError
from bench.events import Event, TrialEnded, TrialStarted
from bench.records.record import Record

if TYPE_CHECKING:
    from bench.request import TrialSpec

# What every trial needs, imported once. sklearn.metrics and timm take longest.
PRELOADED = [
    "bench.run.trial", "bench.run.check", "timm", "sklearn.metrics", "sklearn.model_selection",
    "tensorboard.plugins.hparams.summary_v2",
]  # fmt: skip


# How long GNU OpenMP's threads spin before they sleep. Its default, 300,000, gains nothing measurable on an idle
# machine, and where another process wants a core it makes a training step up to twenty times slower.
SPIN_COUNT = "1000"


def context() -> Any:
    """Forks of a server that has imported what trials need; new processes where the system cannot fork."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(PRELOADED)
    return chosen


def call(function: str, *arguments: Any) -> Iterator[Any]:
    """Call `module:function` in a process of its own, with an `emit` behind the arguments.

    Gives what it emits, and last what it returns. Raises the RequestError that it raises, and
    ProcessDiedError where it ends without an answer.
    """
    yield from _Call(function, arguments, None).messages(None)


def run_trials(specs: Sequence[TrialSpec], timeout: float | None = None) -> Iterator[Event | Record]:
    """Run the trials in turn; gives their events, and each one's record before its TrialEnded.

    A trial that takes longer than `timeout` seconds is stopped. Where the caller stops asking (an
    interrupt), the trial under way is stopped and its record says `interrupted`.
    """
    for index, spec in enumerate(specs, start=1):
        started = time.monotonic()
        yield TrialStarted(
            spec.model, spec.seed, spec.protocol.train.epochs * len(spec.protocol.tries), index, len(specs)
        )
        record = yield from _run_trial(spec, timeout, started)
        yield record
        yield TrialEnded(
            spec.model,
            spec.seed,
            record.status,
            time.monotonic() - started,
            index,
            len(specs),
            record.accuracy.test_top1 if record.accuracy else None,
            record.error.message if record.error else None,
        )


def _run_trial(spec: TrialSpec, timeout: float | None, started: float) -> Generator[Event, None, Record]:
    """Give the trial's events; the result is its record, written by the trial or for it."""

    def failed(status: str, message: str) -> Record:
        record: Record
        *_, record = call("bench.run.trial:record_failure", spec, status, message, time.monotonic() - started)
        return record

    spec.folder.mkdir(parents=True, exist_ok=True)
    try:
        for message in _Call("bench.run.trial:run", (spec,), spec.folder / "log.txt").messages(timeout):
            if isinstance(message, Record):
                return message
            yield message
    except TimedOutError:
        return failed("timeout", f"took longer than {timeout:g} seconds")
    except ProcessDiedError as error:
        return failed("crashed", str(error))
    except RequestError as error:  # seen only with the real weights, or on the real device
        return failed("error", str(error))
    except (KeyboardInterrupt, GeneratorExit):
        failed("interrupted", "interrupted by the user; run again to go on after its last whole epoch")
        raise
    raise AssertionError("a call ends with its answer, or raises")


class ProcessDiedError(Exception):
    """The process ended without an answer; the text says how."""


class TimedOutError(Exception):
    """The process was stopped: it took too long."""


class _Call:
    """A call in a process of its own, and its end of the pipe."""

    def __init__(self, function: str, arguments: Sequence[Any], log: Path | None) -> None:
        chosen = context()
        receiver, sender = chosen.Pipe(duplex=False)
        self.receiver: Connection = receiver
        self.process: BaseProcess = chosen.Process(target=_work, args=(function, arguments, log, sender), daemon=True)
        with _interrupts_held():
            self.process.start()
        sender.close()  # else the pipe would stay open when the process dies

    def messages(self, timeout: float | None) -> Iterator[Any]:
        """What the call emits, then what it returns."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not wait([self.receiver], left):
                    raise TimedOutError
                try:
                    kind, message = self.receiver.recv()
                except EOFError:
                    self.process.join()
                    raise ProcessDiedError(_how_it_died(self.process.exitcode)) from None
                if kind == "error":
                    raise message
                yield message
                if kind == "answer":
                    return
        finally:
            self._stop()

    def _stop(self) -> None:
        self.process.join(0.2)
        if self.process.is_alive():
            self.process.kill()  # it may be deep in a kernel, where no signal is handled
            self.process.join()
        self.receiver.close()


class _interrupts_held:  # noqa: N801 — used as a function
    """Ctrl-C waits: the server must not be started with half a request, and must not die of it."""

    def __enter__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else None

    def __exit__(self, *_: object) -> None:
        if self.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def _work(function: str, arguments: Sequence[Any], log: Path | None, sender: Connection) -> None:
    """In the new process: call, and send what is emitted and what comes of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one who started us decides
    _redirect(log)
    try:
        module, _, name = function.partition(":")
        answer = getattr(import_module(module), name)(*arguments, lambda event: sender.send(("event", event)))
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
        return f"the trial's process was ended by {name}{hint}; see log.txt"
    return f"the trial's process ended with exit status {exitcode}; see log.txt"

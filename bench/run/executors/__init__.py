"""Running trials through an executor, wherever it runs them; and what becomes of one that fails, whatever ran it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

from bench.errors import RequestError
from bench.events import Event, Tell, TrialEnded, TrialStarted, tell_nobody
from bench.hookspecs import DiedError, Executor, TimedOutError
from bench.records.record import Record, Status
from bench.request import TrialSpec
from bench.run.executors import work

T = TypeVar("T")


def follow(work_done: Generator[Event, None, T], tell: Tell) -> T:
    """The answer of what an executor runs, once it is there; its events are told as they come."""
    with closing(work_done):
        while True:
            try:
                event = next(work_done)
            except StopIteration as end:
                answer: T = end.value
                return answer
            tell(event)


def run_trials(
    executor: Executor, specs: Sequence[TrialSpec], timeout: float | None = None
) -> Iterator[Event | Record]:
    """Run the trials in turn; gives their events, and each one's record before its TrialEnded.

    A trial that takes longer than `timeout` seconds is stopped. Where the caller stops asking (an
    interrupt), the trial under way is stopped and its record says `interrupted`.
    """
    for index, spec in enumerate(specs, start=1):
        started = time.monotonic()
        epochs = spec.protocol.train.epochs * len(spec.protocol.tries)
        yield TrialStarted(spec.model, spec.seed, epochs, index, len(specs))
        record = yield from _run_trial(executor, spec, timeout, started)
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


def _run_trial(
    executor: Executor, spec: TrialSpec, timeout: float | None, started: float
) -> Generator[Event, None, Record]:
    """The failure policy: a trial always leaves a record, written by the trial, or here for one that could not."""

    def failed(status: Status, message: str) -> Record:
        failure = partial(work.record_failure, spec, status, message, time.monotonic() - started)
        return follow(executor.run(failure), tell_nobody)

    spec.folder.mkdir(parents=True, exist_ok=True)
    try:
        return (yield from executor.run(partial(work.run_trial, spec), log=spec.folder / "log.txt", timeout=timeout))
    except TimedOutError:
        return failed("timeout", f"took longer than {timeout:g} seconds")
    except DiedError as error:
        return failed("crashed", f"{error}; see log.txt")
    except RequestError as error:  # seen only with the real weights, or on the real device
        return failed("error", str(error))
    except (KeyboardInterrupt, GeneratorExit):
        failed("interrupted", "interrupted by the user; run again to go on after its last whole epoch")
        raise

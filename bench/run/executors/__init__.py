"""Running trials through an executor, wherever it runs them; and what becomes of one that fails, whatever ran it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeVar

from bench.errors import BusyError, RequestError, StorageError
from bench.events import Event, Measuring, Note, Tell, TrialEnded, TrialStarted
from bench.hookspecs import DiedError, Executor, TimedOutError
from bench.records.record import Failure, Record, Status
from bench.request import TrialSpec
from bench.run.executors import work
from bench.run.failure import is_unmeasured, record_failure
from bench.run.lock import is_free

T = TypeVar("T")

# Seconds between looks at what another run is doing.
LOOK = 0.5


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
    executor: Executor,
    specs: Sequence[TrialSpec],
    timeout: float | None = None,
    recorded: Callable[[TrialSpec], Record | None] = lambda spec: None,
) -> Iterator[Event | Record]:
    """Run the trials in turn; gives their events, and each one's record before its TrialEnded.

    A trial that takes longer than `timeout` seconds is stopped. Where the caller stops asking (an interrupt), the
    trial under way is stopped and its record says `interrupted`. A trial that another run is at comes last; `recorded`
    gives the record of one that another run has done.
    """
    left = deque(enumerate(specs, start=1))
    busy = 0  # so many in turn were another run's: all that are left, where we wait
    told = False
    while left:
        index, spec = left.popleft()
        started = time.monotonic()
        record = recorded(spec)
        if record is not None:
            yield Note(f"{spec.model}, seed {spec.seed}: another run has done it")
        elif is_free(spec.folder):
            epochs = spec.protocol.train.epochs * len(spec.protocol.tries)
            yield TrialStarted(spec.model, spec.seed, epochs, index, len(specs))
            record = yield from _run_trial(executor, spec, timeout, started)
        if record is None:
            left.append((index, spec))
            busy += 1
            if busy >= len(left):
                if not told:
                    told = True
                    names = ", ".join(f"{one.model} seed {one.seed}" for _, one in left)
                    yield Note(f"waiting for another run, which is at {names}")
                time.sleep(LOOK)
            continue
        busy = 0
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
) -> Generator[Event, None, Record | None]:
    """The failure policy: a trial always leaves a record, written by the trial, or here for one that could not.

    A measurement that ends the trial's process costs itself: the trial is run again without it, from its last
    checkpoint, at which training is over. One during which the process died is tried twice: something else may have
    ended it. None where another run is at the trial.
    """
    known = spec.known
    assert known is not None  # of a trial that was planned

    def failed(status: Status, message: str) -> Record:
        return record_failure(spec, known, status, message, time.monotonic() - started)

    died: Counter[str] = Counter()  # during which measurement, or none
    while True:
        measuring = ""  # what is being measured, once the rest is done
        status: Status
        try:
            spec.folder.mkdir(parents=True, exist_ok=True)
            work_done = executor.run(partial(work.run_trial, spec), log=spec.folder / "log.txt", timeout=timeout)
            with closing(work_done):
                while True:
                    try:
                        event = next(work_done)
                    except StopIteration as end:
                        record: Record = end.value
                        return record
                    measuring = event.quantity if isinstance(event, Measuring) else measuring
                    yield event
        except BusyError:
            return None
        except TimedOutError:
            status, message = "timeout", f"took longer than {timeout:g} seconds"
        except DiedError as error:
            status, message = "crashed", str(error)
            died[measuring] += 1
            if died[measuring] == 1 and (measuring or is_unmeasured(spec.folder)):
                yield Note(f"{spec.model}: {message}; measuring once more")
                spec = replace(spec, fresh=spec.fresh and not measuring)
                continue
        except StorageError as error:
            return failed("error", str(error))
        except RequestError as error:  # seen only with the real weights, or on the real device
            return failed("error", str(error))
        except OSError as error:  # the folder cannot be made
            return failed("error", f"{spec.folder}: {error.strerror}")
        except (KeyboardInterrupt, GeneratorExit):
            failed("interrupted", "interrupted by the user; run again to go on after its last whole epoch")
            raise
        if not measuring:
            return failed(status, message if status == "timeout" else f"{message}; see log.txt")
        yield Note(f"{spec.model}: {measuring} could not be measured: {message}")
        unmeasured = {**spec.unmeasured, measuring: Failure(type=status, message=message)}
        spec = replace(spec, unmeasured=unmeasured, fresh=False)

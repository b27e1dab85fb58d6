"""Running trials through an executor, wherever it runs them: so many at once, each followed by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from bench.events import Event, Note, TrialEnded, TrialStarted
from bench.hookspecs import Executor
from bench.records.record import Record
from bench.request import TrialSpec
from bench.run.executors.following import follow as follow
from bench.run.executors.policy import UNLIMITED, attempt
from bench.run.executors.policy import Limits as Limits
from bench.run.lock import is_free
from bench.run.slots import Slots

# Seconds between looks at what another run is doing.
LOOK = 0.5


@dataclass(frozen=True)
class _Begun:
    """A trial under way: which of the run's it is, and when it began."""

    number: int
    spec: TrialSpec
    started: float


@dataclass(frozen=True)
class _Ended:
    """Its record, None where another run is at it; or what was raised."""

    begun: _Begun
    record: Record | None = None
    error: BaseException | None = None


def run_trials(
    executor: Executor,
    specs: Sequence[TrialSpec],
    where: Slots,
    limits: Limits = UNLIMITED,
    recorded: Callable[[TrialSpec], Record | None] = lambda spec: None,
    further: Callable[[Record], Iterable[TrialSpec | Record | Note]] = lambda record: (),
) -> Iterator[Event | Record]:
    """Run the trials, one in each slot; gives their events, and each one's record before its TrialEnded.

    Where the caller stops asking (an interrupt), the
    trials under way are stopped and their records say `interrupted`. A trial that another run is at comes last;
    `recorded` gives the record of one that another run has done, `further` what follows from a trial that has ended.
    """
    return _Run(executor, specs, where, limits, recorded, further).messages()


class _Run:
    """Trials as they are left, under way, and over. Only its thread of each trial runs beside the caller's."""

    def __init__(
        self,
        executor: Executor,
        specs: Sequence[TrialSpec],
        where: Slots,
        limits: Limits,
        recorded: Callable[[TrialSpec], Record | None],
        further: Callable[[Record], Iterable[TrialSpec | Record | Note]],
    ) -> None:
        self.executor, self.limits, self.recorded, self.further = executor, limits, recorded, further
        self.total = len(specs)
        self.left = deque(enumerate(specs, start=1))
        self.free = deque(where.devices)
        self.threads: dict[int, threading.Thread] = {}
        self.said: SimpleQueue[Event | _Ended] = SimpleQueue()
        self.stopped = threading.Event()
        self.waits = False  # for another run, which is at all that are left

    def messages(self) -> Iterator[Event | Record]:
        told = False
        try:
            while self.left or self.threads:
                yield from self._begin()
                if self.waits and not self.threads and not told:
                    told = True
                    names = ", ".join(f"{one.model} seed {one.seed}" for _, one in self.left)
                    yield Note(f"waiting for another run, which is at {names}")
                if not self.waits and not self.threads:
                    continue  # another run has done all that was left
                with suppress(Empty):
                    message = self.said.get(timeout=LOOK if self.waits else None)
                    if isinstance(message, _Ended):
                        # The next one begins before it is told what has become of this one: whoever is told may take
                        # its time.
                        told_of = list(self._end(message))
                        begun = list(self._begin())
                        yield from (*told_of, *begun)
                    else:
                        yield message
        finally:
            self.stopped.set()
            for thread in self.threads.values():
                thread.join()

    def _begin(self) -> Iterator[Event | Record]:
        """Begin what can be begun in the free slots, one look at each trial that is left."""
        self.waits = False
        for _ in range(len(self.left)):
            if not self.free:
                return
            number, spec = self.left.popleft()
            started = time.monotonic()
            record = self.recorded(spec)
            if record is not None:
                yield Note(f"{spec.model}, seed {spec.seed}: another run has done it")
                yield from self._over(number, spec, record, started)
            elif is_free(spec.folder):
                device = self.free.popleft()
                epochs = spec.protocol.train.epochs * len(spec.protocol.tries)
                yield TrialStarted(spec.model, spec.seed, epochs, number, self.total)
                placed = replace(spec, place=replace(spec.place, device=device))
                thread = threading.Thread(target=self._follow, args=(_Begun(number, placed, started),))
                self.threads[number] = thread
                thread.start()
            else:
                self.left.append((number, spec))
        self.waits = bool(self.left)

    def _follow(self, begun: _Begun) -> None:
        """In the trial's thread: pass on what happens, until it is over, or all is to stop."""
        try:
            record = attempt(self.executor, begun.spec, self.limits, begun.started, self.said.put, self.stopped)
            self.said.put(_Ended(begun, record))
        except BaseException as error:  # the caller's thread raises it, where it still asks
            self.said.put(_Ended(begun, error=error))

    def _end(self, ended: _Ended) -> Iterator[Event | Record]:
        begun = ended.begun
        self.threads.pop(begun.number).join()
        self.free.append(begun.spec.place.device)
        if ended.error is not None:
            raise ended.error
        if ended.record is None:
            self.left.append((begun.number, begun.spec))
        else:
            yield from self._over(begun.number, begun.spec, ended.record, begun.started)

    def _over(self, number: int, spec: TrialSpec, record: Record, started: float) -> Iterator[Event | Record]:
        yield record
        yield TrialEnded(
            spec.model,
            spec.seed,
            record.status,
            time.monotonic() - started,
            number,
            self.total,
            record.accuracy.test_top1 if record.accuracy else None,
            record.error.message if record.error else None,
        )
        for message in self.further(record):
            if isinstance(message, TrialSpec):
                self.total += 1
                self.left.append((self.total, message))
            else:
                yield message

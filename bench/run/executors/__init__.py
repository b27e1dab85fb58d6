"""Running trials through an executor, wherever it runs them: so many at once, each followed by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from bench.events import Event, Note, Tell, TrialEnded, TrialLeft, TrialStarted, tell_nobody
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
    tell_stopped: Tell = tell_nobody,
) -> Generator[Event | Record, None, None]:
    """Run the trials, one in each slot; gives their events, and each one's record before its TrialEnded.

    Where the caller stops asking (an interrupt), the trials under way are stopped, their records say `interrupted`, and
    `tell_stopped` is told of their ends. A trial that another run is at comes last; `recorded` gives the record of one
    that another run has done, `further` what follows from a trial that has ended.
    """
    return _Run(executor, specs, where, limits, recorded, further, tell_stopped).messages()


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
        tell_stopped: Tell,
    ) -> None:
        self.executor, self.limits, self.recorded, self.further = executor, limits, recorded, further
        self.tell_stopped = tell_stopped
        self.total = len(specs)
        self.left = deque(enumerate(specs, start=1))
        self.free = deque(where.devices)
        self.threads: dict[int, threading.Thread] = {}
        self.begun: dict[int, _Begun] = {}  # those that were told of, and whose end was not
        self.over: dict[int, Record] = {}  # the records of those of them that are over
        self.said: SimpleQueue[Event | _Ended] = SimpleQueue()
        self.stopped = threading.Event()
        self.waits = False  # for another run, which is at all that are left

    def messages(self) -> Generator[Event | Record, None, None]:
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
                        yield from self._told((*told_of, *begun))
                    else:
                        yield message
        finally:
            self.stopped.set()
            for thread in self.threads.values():
                thread.join()
            self._tell_stopped()

    def _told(self, messages: Iterable[Event | Record]) -> Iterator[Event | Record]:
        """The messages, as they are asked for: only then has whoever asks heard how a trial ended."""
        for message in messages:
            if isinstance(message, TrialEnded):
                self.begun.pop(message.index, None)
                self.over.pop(message.index, None)
            yield message

    def _tell_stopped(self) -> None:
        """Of each that nobody asks for any more: how it ended."""
        while not self.said.empty():
            message = self.said.get()
            if isinstance(message, _Ended) and message.record is not None:
                self.over[message.begun.number] = message.record
        for number, begun in self.begun.items():
            if number in self.over:  # else another run is at it, or its end could not be recorded
                self.tell_stopped(self._told_of(begun, self.over[number]))

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
                yield from self._over(_Begun(number, spec, started), record)
            elif is_free(spec.folder):
                device = self.free.popleft()
                begun = _Begun(number, replace(spec, place=replace(spec.place, device=device)), started)
                self.begun[number] = begun
                self.threads[number] = threading.Thread(target=self._follow, args=(begun,))
                self.threads[number].start()
                # Whoever is told may take its time: the trial is under way.
                protocol, tries = spec.protocol, len(spec.protocol.tries)
                epochs = protocol.train.epochs * tries
                yield TrialStarted(spec.model, spec.seed, epochs, number, self.total, protocol.name, spec.folder, tries)
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
            del self.begun[begun.number]
            yield TrialLeft(begun.spec.model, begun.spec.seed)
        else:
            yield from self._over(begun, ended.record)

    def _over(self, begun: _Begun, record: Record) -> Iterator[Event | Record]:
        self.over[begun.number] = record
        yield record
        yield self._told_of(begun, record)
        for message in self.further(record):
            if isinstance(message, TrialSpec):
                self.total += 1
                self.left.append((self.total, message))
            else:
                yield message

    def _told_of(self, begun: _Begun, record: Record) -> TrialEnded:
        return TrialEnded(
            begun.spec.model,
            begun.spec.seed,
            record.status,
            time.monotonic() - begun.started,
            begun.number,
            self.total,
            begun.spec.folder,
            record.accuracy.test_top1 if record.accuracy else None,
            record.error.message if record.error else None,
        )

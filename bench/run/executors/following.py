"""Following work that an executor does, to its answer."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

from bench.events import Event, Tell

T = TypeVar("T")


class StoppedError(BaseException):
    """Work under way is to stop: what an interrupt is to the thread that follows it."""


def follow(work_done: Generator[Event | None, None, T], tell: Tell, stop: threading.Event | None = None) -> T:
    """The answer of what an executor runs, once it is there; its events are told as they come.

    Raises StoppedError, and stops the work, once `stop` is set.
    """
    with closing(work_done):
        while True:
            try:
                event = next(work_done)
            except StopIteration as end:
                answer: T = end.value
                return answer
            if event is not None:
                tell(event)
            if stop is not None and stop.is_set():
                raise StoppedError

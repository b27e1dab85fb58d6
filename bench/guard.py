"""Around every call of a stranger's code: what it does to the process ends with the call, and the call ends, too."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

# Seconds for a plugin's import, hook, claim or check: these describe, and leave the work to what they describe.
LIMIT = 60.0


class TooLongError(Exception):
    """A stranger's code took longer than it may."""


class Interrupted(KeyboardInterrupt):
    """The user's own interrupt, as the command line raises it: any other KeyboardInterrupt may be a plugin's."""


@contextlib.contextmanager
def guarded(limit: float = LIMIT, environment: bool = True) -> Iterator[None]:
    """Within it, what is printed goes to standard error; after it, working directory and recursion limit are as they
    were, and the `environment`, too, unless it is for that code alone.

    TooLongError after `limit` seconds, where the system can interrupt what is called.
    """
    directory, variables, depth = Path.cwd(), dict(os.environ), sys.getrecursionlimit()
    try:
        with contextlib.redirect_stdout(sys.stderr), _limited(limit):
            yield
    finally:
        sys.setrecursionlimit(depth)
        os.chdir(directory)
        if environment:
            _restore(variables)


def _restore(variables: dict[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in variables.items() if os.environ.get(name) != value})


@contextlib.contextmanager
def _limited(limit: float) -> Iterator[None]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        raise TooLongError(f"it takes longer than {limit:g} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_the_users(error: BaseException) -> bool:
    """Whether it is to be passed on, and no failure of the stranger's: the user's interrupt, or a generator's end."""
    if isinstance(error, KeyboardInterrupt):
        # Where nobody raises Interrupted, and Ctrl-C is heard, it cannot be told from a plugin's: it is the user's.
        return isinstance(error, Interrupted) or signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, GeneratorExit)

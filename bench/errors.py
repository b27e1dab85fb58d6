"""What is said to a user who asked for something impossible."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """The request cannot be carried out; the text says in one line what is wrong and what to do.

    The command line prints it without a traceback and exits with status 2.

    >>> bench.run("vit_tinny", progress=False)
    Traceback (most recent call last):
    bench.errors.RequestError: unknown model 'vit_tinny': did you mean vit_tiny ...
    """


class UnfitError(RequestError):
    """An extension cannot be applied to a model; it may be to others."""


class NoSuchOptionError(RequestError):
    """A model has no such `option`."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message, option)
        self.option = option

    def __str__(self) -> str:
        return str(self.args[0])


class UnreachableError(RequestError):
    """What is not on this machine cannot be downloaded; on another, or another day, it may be.

    >>> issubclass(bench.UnreachableError, bench.RequestError)
    True
    """


class BusyError(RequestError):
    """Another run is at work there; the same request may be carried out later."""


class StorageError(RequestError):
    """A file cannot be written; what was finished before is kept. The command line exits with status 1."""


def unknown(kind: str, name: str, known: Iterable[str], listing: str) -> RequestError:
    """The error for a name nobody registered: with the nearest names, and the command that lists them."""
    return RequestError(f"unknown {kind} {name!r}: {meant(name, known)}`{listing}` lists them")


def meant(name: str, known: Iterable[str]) -> str:
    """Up to three known names that it begins or is like, as a question; empty where there is none."""
    names = list(known)
    begun = [one for one in names if name and one.startswith(name)]
    near = list(dict.fromkeys([*begun, *difflib.get_close_matches(name, names)]))[:3]
    return f"did you mean {' or '.join(near)}? " if near else ""

"""Which models still have to be timed side by side, and the doing of it: at the end of a run, or when asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.errors import RequestError
from bench.events import Note, Tell
from bench.hookspecs import DiedError, Executor
from bench.records.comparison import Comparison
from bench.records.sessions import FOLDER
from bench.request import Place, TimingRequest
from bench.run.executors import LOOK, follow, work
from bench.run.lock import is_free, sole_user


def lacks_timing(comparison: Comparison) -> bool:
    """Whether no single session has timed all of the comparison's finished models as they are now."""
    held = [{kept.file for kept in contender.sessions} for contender in comparison.finished]
    return bool(held) and not set.intersection(*held)


def await_turn(folder: Path, tell: Tell) -> None:
    """Wait until no other run takes a session of that protocol's folder."""
    told = False
    while (folder / FOLDER).exists() and not is_free(folder / FOLDER):
        if not told:
            told = True
            tell(Note("waiting for another run, which is timing the models"))
        time.sleep(LOOK)


def take(comparison: Comparison, models: Sequence[str], place: Place, executor: Executor, tell: Tell) -> str:
    """Time the comparison's finished models, or those of them that are named; what went wrong, empty where nothing did.

    Of each model the first seed's weights are taken. What goes wrong costs no trial anything.
    """
    folders = tuple(one.finished[0].folder for one in comparison.finished if not models or one.model in models)
    return time_folders(comparison.folder, folders, comparison.name, place, executor, tell)


def time_folders(into: Path, folders: Sequence[Path], name: str, place: Place, executor: Executor, tell: Tell) -> str:
    """Time the models of these trials side by side, a session in `into`; what went wrong, as `take`."""
    request = TimingRequest(into, tuple(folders), place)
    log = into / FOLDER / "log.txt"
    try:
        with sole_user(log.parent):
            follow(executor.run(partial(work.time_models, request), log=log), tell)
    except (DiedError, RequestError) as error:
        problem = f"{name}: timing stopped: {error}"
        tell(Note(problem))
        return problem
    return ""

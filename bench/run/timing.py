"""Which models still have to be timed side by side, and the doing of it: at the end of a run, or when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.errors import RequestError
from bench.events import Note, Tell
from bench.hookspecs import DiedError, Executor
from bench.records.comparison import Comparison, Contender
from bench.records.sessions import FOLDER
from bench.request import Place, TimingRequest
from bench.run.executors import follow, work


def lacks_timing(comparison: Comparison) -> bool:
    """Whether no single session has timed all of the comparison's finished models as they are now."""
    held = [{kept.file for kept in contender.sessions} for contender in comparison.finished]
    return bool(held) and not set.intersection(*held)


def take(
    comparison: Comparison, models: Sequence[str], place: Place, executor: Executor, tell: Tell
) -> tuple[list[Path], str]:
    """Time the comparison's finished models, or those of them that are named: the sessions' files, and what went wrong.

    Of each model the first seed's weights are taken. What goes wrong costs no trial anything.
    """
    chosen = [one for one in comparison.finished if not models or one.model in models]
    request = TimingRequest(comparison.folder, tuple(_first(one) for one in chosen), place)
    if not chosen:
        return [], f"{comparison.name}: no finished model to time"
    log = comparison.folder / FOLDER / "log.txt"
    log.parent.mkdir(exist_ok=True)
    try:
        return follow(executor.run(partial(work.time_models, request), log=log), tell), ""
    except (DiedError, RequestError) as error:
        problem = f"{comparison.name}: timing stopped: {error}"
        tell(Note(problem))
        return [], problem


def _first(contender: Contender) -> Path:
    return contender.finished[0].folder

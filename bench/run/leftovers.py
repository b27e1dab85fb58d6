"""What a trial needed on its way, and needs no more when it is done. Free of torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BusyError
from bench.plugins import Model
from bench.request import TrialSpec
from bench.run.lock import sole_user


def remove_checkpoints(spec: TrialSpec, asked: Model) -> None:
    """Remove the checkpoints of a trial that is done, and those that were set aside."""
    for file in _checkpoints(spec, asked):
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def clear_done(spec: TrialSpec, asked: Model) -> None:
    """Of a trial that is recorded: remove the checkpoints of a later `--fresh` that was killed, if nobody is at it."""
    if any(True for _ in _checkpoints(spec, asked)):
        try:
            with sole_user(spec.folder):
                remove_checkpoints(spec, asked)
        except BusyError:  # another run makes it afresh now
            return


def _checkpoints(spec: TrialSpec, asked: Model) -> Iterator[Path]:
    own = (spec.checkpoint(asked, number) for number in range(len(spec.protocol.tries)))
    yield from (file for file in own if file.exists())
    yield from spec.folder.glob("damaged-checkpoint-*")

"""Makes artifacts, the slow ones on all cores."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import groupby

from bench.report.artifact import Artifact

# What a process of the pool makes; given once, for many artifacts hold the same records.
_artifacts: Sequence[Sequence[Artifact]] = ()


def make_all(
    artifacts: Sequence[Artifact], pooled: Callable[[Artifact], bool]
) -> Iterator[tuple[Artifact, bytes | Exception]]:
    """Each artifact with its content, or with what went wrong, as they are finished; `pooled` go to other processes.

    Where the caller stops asking, or is interrupted, no further one is begun.
    """
    # A figure's PNG and SVG go to one process, in their order: it draws once for both.
    elsewhere = [
        list(forms)
        for _, forms in groupby(filter(pooled, artifacts), key=lambda artifact: artifact.file.with_suffix(""))
    ]
    pool = _pool(elsewhere) if elsewhere else None
    try:
        # Before anything else starts a thread: processes are forked here.
        futures = {pool.submit(_make_number, number): number for number in range(len(elsewhere))} if pool else {}
        for artifact in artifacts:
            if not pooled(artifact):
                yield artifact, _make(artifact)
        for future in as_completed(futures):
            yield from zip(elsewhere[futures[future]], future.result(), strict=True)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _pool(artifacts: Sequence[Sequence[Artifact]]) -> ProcessPoolExecutor:
    # A fork has the records already; elsewhere they are sent, once to each process.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    workers = min(os.cpu_count() or 1, len(artifacts))
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(artifacts,))


def _begin(artifacts: Sequence[Sequence[Artifact]]) -> None:
    global _artifacts
    _artifacts = artifacts
    gc.freeze()  # no collection need walk through the records
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _make_number(number: int) -> list[bytes | Exception]:
    return [_make(artifact) for artifact in _artifacts[number]]


def _make(artifact: Artifact) -> bytes | Exception:
    try:
        return artifact.make()
    except Exception as error:  # one that cannot be drawn must not cost the others
        return error

"""Makes artifacts, the slow ones on all cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from bench.report.artifact import Artifact

# What a process of the pool makes; given once, for many artifacts hold the same records.
_artifacts: Sequence[Artifact] = ()


def make_all(
    artifacts: Sequence[Artifact], pooled: Callable[[Artifact], bool]
) -> Iterator[tuple[Artifact, bytes | Exception]]:
    """Each artifact with its content, or with what went wrong, as they are finished; `pooled` go to other processes.

    Where the caller stops asking, or is interrupted, no further one is begun.
    """
    elsewhere = [artifact for artifact in artifacts if pooled(artifact)]
    pool = _pool(elsewhere) if elsewhere else None
    try:
        # Before anything else starts a thread: processes are forked here.
        futures = {pool.submit(_make_number, number): number for number in range(len(elsewhere))} if pool else {}
        for artifact in artifacts:
            if not pooled(artifact):
                yield artifact, _make(artifact)
        for future in as_completed(futures):
            yield elsewhere[futures[future]], future.result()
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _pool(artifacts: Sequence[Artifact]) -> ProcessPoolExecutor:
    # A fork has the records already; elsewhere they are sent, once to each process.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    workers = min(os.cpu_count() or 1, len(artifacts))
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(artifacts,))


def _begin(artifacts: Sequence[Artifact]) -> None:
    global _artifacts
    _artifacts = artifacts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _make_number(number: int) -> bytes | Exception:
    return _make(_artifacts[number])


def _make(artifact: Artifact) -> bytes | Exception:
    try:
        return artifact.make()
    except Exception as error:  # one that cannot be drawn must not cost the others
        return error

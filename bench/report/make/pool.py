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


def make_all(
    artifacts: Sequence[Artifact], pooled: Callable[[Artifact], bool]
) -> Iterator[tuple[Artifact, bytes | Exception]]:
    """Each artifact with its content, or with what went wrong, as they are finished; `pooled` go to other processes.

    Where the caller stops asking, or is interrupted, no further one is begun.
    """
    # A figure's PNG and SVG go to one process, in their order: it draws once for both.
    elsewhere = [
        tuple(forms)
        for _, forms in groupby(filter(pooled, artifacts), key=lambda artifact: artifact.file.with_suffix(""))
    ]
    pool = _pool(len(elsewhere)) if elsewhere else None
    try:
        # Before anything else starts a thread: processes are forked here.
        futures = {pool.submit(_make_each, forms): forms for forms in elsewhere} if pool else {}
        for artifact in artifacts:
            if not pooled(artifact):
                yield artifact, _make(artifact)
        for future in as_completed(futures):
            yield from zip(futures[future], future.result(), strict=True)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _pool(most: int) -> ProcessPoolExecutor:
    # A fork has all modules already.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    return ProcessPoolExecutor(min(os.cpu_count() or 1, most), context, initializer=_begin)


def _begin() -> None:
    gc.freeze()  # no collection need walk through the records, which a fork has, too
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _make_each(artifacts: Sequence[Artifact]) -> list[bytes | Exception]:
    return [_make(artifact) for artifact in artifacts]


def _make(artifact: Artifact) -> bytes | Exception:
    try:
        return artifact.make()
    except Exception as error:  # one that cannot be drawn must not cost the others
        return error

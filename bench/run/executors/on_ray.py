"""Does work on the machines of a Ray cluster: as Ray's tasks, each of which sends what happens as it comes.

No file is shared: what a piece of work needs travels with it or is fetched (see parcels.py), and what it writes comes
back. On its machine it runs as it does at home, in a process of its own (see away.py). Ray itself tries nothing again.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.errors import RequestError
from bench.events import Event, Note, Tell
from bench.hookspecs import DiedError, LostError, Room
from bench.request import TimingRequest, TrialSpec
from bench.run.executors import away, nodes
from bench.run.executors.local import BEAT, FINISHING, Local
from bench.run.executors.parcels import Parcel, belongs_here, brought_back, packed
from bench.run.lock import sole_user

T = TypeVar("T")

# Seconds that a machine may take to say what it has; after which one is told that a trial waits for a place; between
# looks for machines that have gone.
ASKED, PATIENCE, LOOK = 180.0, 10.0, 2.0
# Seconds in which something answers at a cluster's address.
ANSWERS = 5.0
STARTING = "`ray start --head` starts one, and --executor ray without an address one for the time of the run"


class OnRay:
    """The executor of a Ray cluster: see bench.hookspecs.Executor.

    Without an address a cluster of this machine is started, and ends with `close`.
    """

    def __init__(self, address: str | None, cpus: int | None, gpus: float | None) -> None:
        self._connected = not ray.is_initialized()  # else it is the calling script's, and left to it
        if self._connected:
            _connect(address)
        self._shared = threading.Lock()  # trials are followed by threads
        self._here = nodes.installed(nodes.PACKAGES, ())
        self._found: dict[tuple[str, tuple[str, ...]], str] = {}  # why a node is unfit, empty where it is not
        self._modules: dict[tuple[str, ...], tuple[str, ...]] = {}  # what plugins import, by where these are
        self.notes: list[str] = []
        try:
            self._sender = None if address is None and self._connected else _sender()
            self.cpus, self.gpus, self.room = self._look_around(1 if cpus is None else cpus, gpus)
        except BaseException:
            self.close()
            raise

    def _look_around(self, cpus: int, gpus: float | None) -> tuple[int, float, Room]:
        """What each trial gets, and how many there is room for; RequestError where there is none."""
        alive = _alive()
        fit = self._fit(alive, ())
        if not fit:
            raise RequestError("; ".join([*self.notes, "no machine of the cluster is left"]))
        resources = [alive[node]["Resources"] for node in fit]
        gpus = float(any(one.get("GPU") for one in resources)) if gpus is None else gpus
        each = [_places(one, cpus, gpus) for one in resources]
        if not sum(each):
            most = max((one.get("CPU", 0), one.get("GPU", 0)) for one in resources)
            raise RequestError(
                f"--cpus-per-trial {cpus}, --gpus-per-trial {gpus:g}: no machine of the cluster has that; "
                f"the largest has {most[0]:g} CPUs and {most[1]:g} GPUs"
            )
        sharing = max(each) if not gpus else max(1, int(1 / gpus))
        return cpus, gpus, Room(sum(each), sharing, cpus)

    def run(
        self, work: Callable[[Tell], T], *, log: Path | None = None, timeout: float | None = None
    ) -> Generator[Event | None, None, T]:
        """Call `work(emit)` on a machine of the cluster; what only this one has is asked here."""
        if belongs_here(work):
            return (yield from Local().run(work, log=log, timeout=timeout))
        request = work.args[0] if isinstance(work, partial) and work.args else None
        with sole_user(request.folder) if isinstance(request, TrialSpec) else nullcontext():
            parcel = packed(work)
            needed = (*(request.plugins or ()), *request.measuring) if isinstance(request, TrialSpec) else ()
            if needed not in self._modules:
                self._modules[needed] = nodes.modules_of(needed)
            whole = isinstance(request, TimingRequest)  # a session has a machine to itself
            return cast(T, (yield from self._followed(parcel, log, timeout, self._modules[needed], whole)))

    def close(self) -> None:
        """Leave the cluster; end it where it was started here."""
        if self._connected:
            ray.shutdown()

    def _followed(
        self, parcel: Parcel, log: Path | None, timeout: float | None, modules: tuple[str, ...], whole: bool
    ) -> Generator[Event | None, None, Any]:
        alive = _alive()
        fit = self._fit(alive, modules)
        with self._shared:
            notes, self.notes = self.notes, []
        yield from map(Note, notes)
        if not fit:
            raise RequestError("no machine of the cluster can run it: see the lines above")
        items = _on_node.options(
            num_cpus=max(alive[node]["Resources"].get("CPU", 0) for node in fit) if whole else self.cpus,
            num_gpus=math.ceil(self.gpus) if whole else self.gpus,
            label_selector={"ray.io/node-id": f"in({','.join(fit)})"},
        ).remote(parcel, log, timeout, self._sender)
        ended = False
        try:
            for item in _arriving(items, fit):
                if item is None:
                    yield None
                    continue
                kind, content = item
                ended = kind in ("answer", "error")
                if kind == "files":
                    assert parcel.root is not None
                    brought_back(parcel.root, *content)
                elif kind == "event":
                    yield content
                elif kind == "answer":
                    return content
                else:
                    raise content
            raise LostError("its machine ended it without an answer")
        finally:
            if not ended:
                _cancel(items)

    def _fit(self, alive: dict[str, Any], modules: tuple[str, ...]) -> list[str]:
        """The machines that have what is needed; what others lack is noted once."""
        with self._shared:
            asked = {
                node: _installed.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                    nodes.PACKAGES, modules
                )
                for node in alive
                if (node, modules) not in self._found
            }
            for node, answer in asked.items():
                with suppress(RayError):  # it has just gone
                    try:
                        why = nodes.why_unfit(self._here, ray.get(answer, timeout=ASKED))
                    except GetTimeoutError:
                        why = f"it does not answer within {ASKED:g} seconds"
                    self._found[node, modules] = why
                    if why:
                        address = alive[node]["NodeManagerAddress"]
                        self.notes.append(f"machine {address} ({node[:8]}) is left out: {why}")
            return [node for node in alive if self._found.get((node, modules)) == ""]


def _connect(address: str | None) -> None:
    if address is not None and address.startswith("ray://"):
        raise RequestError(
            "--ray-address ray://…: this machine has to be one of the cluster's: run `ray start --address HOST:PORT` "
            "here, and name HOST:PORT, or auto"
        )
    if address is not None and ":" in address:  # Ray itself would try for minutes
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), ANSWERS).close()
        except (OSError, ValueError) as error:
            raise RequestError(f"--ray-address {address}: no Ray cluster is there: {error}; {STARTING}") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else trials of a cluster that is started here yield to all else
    with _signals_kept(), _errors_kept() as said:
        try:
            ray.init(
                address=address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                include_dashboard=False if address is None else None,
            )
        except (ConnectionError, ValueError, RuntimeError, RayError) as error:
            why = f"no Ray cluster is there: {' '.join(str(error).split())[:200]}; {STARTING}"
            if "InvalidAuthToken" in f"{said()} {error}":
                why = (
                    "that cluster wants its token, and this is another or none: set RAY_AUTH_MODE=token and "
                    "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with it"
                )
            raise RequestError(f"--ray-address {address or 'local'}: {why}") from None


@contextmanager
def _errors_kept() -> Iterator[Callable[[], str]]:
    """What Ray's C++ writes to standard error, a line a second while it tries, is not shown there, but given."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        shown = os.dup(2)
        os.dup2(kept.fileno(), 2)

        def said() -> str:
            kept.seek(0)
            return kept.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(shown, 2)
            os.close(shown)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what ends a run here is bench's to say."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _alive() -> dict[str, Any]:
    known = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node for node in known if node["Alive"]}


def _places(resources: dict[str, float], cpus: int, gpus: float) -> int:
    """How many trials a machine runs at once."""
    by_cpus = int(resources.get("CPU", 0) // cpus)
    return min(by_cpus, int(resources.get("GPU", 0) / gpus)) if gpus else by_cpus


def _arriving(items: Any, fit: list[str]) -> Iterator[away.Item | None]:
    """What the task sends, one by one, None where nothing comes for a moment; LostError where its machine is gone."""
    began, looked, begun = time.monotonic(), time.monotonic(), False
    while True:
        try:
            if not ray.wait([items], timeout=BEAT, fetch_local=False)[0]:
                now = time.monotonic()
                if not begun and now - looked > LOOK:
                    looked = now
                    if not set(fit) & _alive().keys():
                        raise LostError("no machine that can run it is left")
                    if now - began > PATIENCE:
                        began = float("inf")
                        yield "event", Note("the cluster is busy: a trial waits for a place")
                yield None
                continue
            several = ray.get(next(items))
        except StopIteration:
            return
        except TaskCancelledError:
            raise LostError("it was cancelled") from None
        except RayTaskError as error:  # what a plugin does is caught where it happens
            raise DiedError(" ".join(str(error.cause).split())[:300]) from None
        except RayError as error:
            said = " ".join(str(error).partition(". ")[0].split())
            raise LostError(f"the machine or its worker is gone: {said}") from None
        begun = True
        yield from cast(list[away.Item], several)


def _cancel(items: Any) -> None:
    """Stop the task, and wait until what it had started has ended."""
    with suppress(RayError):
        ray.cancel(items)
    deadline = time.monotonic() + FINISHING + 2
    while (left := deadline - time.monotonic()) > 0:
        try:
            if ray.wait([items], timeout=left, fetch_local=False)[0]:
                ray.get(next(items))
        except (StopIteration, RayError):
            return


# On the cluster's machines


ray.cloudpickle.register_pickle_by_value(nodes)  # type: ignore[no-untyped-call]
_installed = ray.remote(num_cpus=0, max_retries=0)(nodes.installed)


class Sender:
    """Reads files of the machine that the user is at, for the others."""

    def read(self, file: Path, offset: int, size: int) -> bytes:
        """So many bytes from there on; fewer at the end of the file."""
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(size)


def _sender() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Sender).options(scheduling_strategy=here).remote()


@ray.remote(num_returns="streaming", max_retries=0)
def _on_node(parcel: Parcel, log: Path | None, timeout: float | None, sender: Any) -> Iterator[list[away.Item]]:
    yield []  # it has begun
    resources = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    assigned = str(int(resources.get("CPU", 0)))
    if os.environ.get("OMP_NUM_THREADS") == assigned:  # Ray's: how many threads a trial has is its own to say
        del os.environ["OMP_NUM_THREADS"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")

    def read(file: Path, offset: int, size: int) -> bytes:
        if sender is None:
            raise RequestError(f"{file} is gone; run again")
        return cast(bytes, ray.get(sender.read.remote(file, offset, size)))

    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    yield from away.gathered(away.do(parcel, log, timeout, read, environment))

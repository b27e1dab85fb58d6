"""Work in processes of this machine: their answers, their ends, and nothing left behind in the user's own."""

from __future__ import annotations

import itertools
import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import RequestError
from bench.events import Event, Note, Tell
from bench.hookspecs import DiedError, TimedOutError
from bench.run.executors import follow
from bench.run.executors.local import Local


def add(a: int, b: int, emit: Tell) -> int:
    print("adding")
    emit(Note(f"{a} and {b}"))
    return a + b


def refuse(emit: Tell) -> None:
    raise RequestError("no such thing")


def kill(emit: Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(emit: Tell) -> None:
    sys.exit(7)


def fail(emit: Tell) -> None:
    raise ZeroDivisionError("one by nought")


def sleep(emit: Tell) -> None:
    emit(Note(str(os.getpid())))
    time.sleep(60)


def environment(emit: Tell) -> dict[str, str]:
    return dict(os.environ)


def imported(names: list[str], emit: Tell) -> list[str]:
    return [name for name in names if name in sys.modules]


@pytest.mark.slow
def test_work_is_done_elsewhere_and_its_events_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Event] = []
    assert follow(Local().run(partial(add, 2, 3), log=tmp_path / "log.txt"), told.append) == 5
    assert told == [Note("2 and 3")]
    assert (tmp_path / "log.txt").read_text() == "adding\n"
    assert capfd.readouterr() == ("", "")


def test_a_request_that_is_refused_there_is_refused_here() -> None:
    with pytest.raises(RequestError, match="no such thing"):
        follow(Local().run(refuse), print)


@pytest.mark.parametrize(("work", "says"), [(kill, "SIGKILL"), (leave, "exit status 7"), (fail, "exit status 1")])
def test_work_that_ends_without_an_answer_says_how(work: Tell, says: str) -> None:
    with pytest.raises(DiedError, match=says):
        follow(Local().run(work), print)


def complain(emit: Tell) -> None:
    os.write(2, b"warning: old\nterminate called after throwing an instance of 'std::bad_alloc'\n\n")
    os._exit(3)


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (fail, "its process ended with exit status 1: ZeroDivisionError: one by nought"),
        (complain, "its process ended with exit status 3: terminate called after throwing an instance of"),
    ],
)
def test_what_work_without_a_log_said_last_is_told(work: Tell, says: str, tmp_path: Path) -> None:
    with pytest.raises(DiedError) as without:
        follow(Local().run(work), print)
    assert str(without.value).startswith(says)
    with pytest.raises(DiedError) as with_log:
        follow(Local().run(work, log=tmp_path / "log.txt"), print)
    assert says.startswith(f"{with_log.value}: ")
    assert says.rpartition(": ")[2] in (tmp_path / "log.txt").read_text()


def through_a_loader(emit: Tell) -> list[int]:
    from torch.utils.data import DataLoader

    return [int(number) for batch in DataLoader(list(range(10)), batch_size=5, num_workers=2) for number in batch]


def test_work_may_start_processes_of_its_own() -> None:
    assert follow(Local().run(through_a_loader), print) == list(range(10))


def start_and_wait(emit: Tell) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    emit(Note(str(child.pid)))
    time.sleep(60)


def test_what_work_has_started_ends_with_it() -> None:
    working = Local().run(start_and_wait)
    child = next(filter(None, working))
    working.close()
    assert isinstance(child, Note)
    for _ in range(100):
        if not psutil.pid_exists(int(child.text)) or psutil.Process(int(child.text)).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.02)
    pytest.fail("it lives on")


def leave_slowly_to(file: str, emit: Tell) -> str:
    from multiprocessing.util import Finalize

    Finalize(None, _leave, (file,), exitpriority=0)  # done when the process ends
    return "done"


def _leave(file: str) -> None:
    time.sleep(1)
    Path(file).write_text("left")


def test_work_that_has_answered_may_end_by_itself(tmp_path: Path) -> None:
    left = tmp_path / "left"
    assert follow(Local().run(partial(leave_slowly_to, str(left))), print) == "done"
    assert left.read_text() == "left"


def test_work_that_takes_too_long_is_ended() -> None:
    told: list[Event] = []
    with pytest.raises(TimedOutError):
        follow(Local().run(sleep, timeout=3.0), told.append)  # which the first event must not
    assert_is_over(told[0])


def test_work_that_nobody_follows_is_ended() -> None:
    working = Local().run(sleep)
    begun = next(filter(None, working))
    working.close()
    assert_is_over(begun)


def leave_a_child(emit: Tell) -> None:
    if os.fork() == 0:  # it holds all that its parent had open
        time.sleep(30)
        os._exit(0)
    os._exit(5)


def test_an_end_is_noticed_though_a_child_of_the_work_lives_on() -> None:
    began = time.monotonic()
    with pytest.raises(DiedError, match="exit status 5"):
        follow(Local().run(leave_a_child), print)
    assert time.monotonic() - began < 20


ORPHAN = """
import sys
sys.path.insert(0, {tests!r})
from test_local import work_on
from functools import partial
from bench.run.executors.local import Local
if __name__ == "__main__":
    for event in filter(None, Local().run(partial(work_on, {file!r}))):
        print(event.text, flush=True)
"""


def work_on(file: str, emit: Tell) -> None:
    emit(Note(str(os.getpid())))
    while True:
        Path(file).write_text(str(time.monotonic()))
        time.sleep(0.05)


def test_work_ends_with_whoever_started_it_and_writes_nothing_more(tmp_path: Path) -> None:
    file, script = tmp_path / "written", tmp_path / "starts.py"
    script.write_text(ORPHAN.format(tests=str(Path(__file__).parent), file=str(file)))
    starter = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    worker = int(starter.stdout.readline())
    while not file.exists():
        time.sleep(0.02)
    starter.kill()
    starter.wait()
    time.sleep(1)
    with suppress(psutil.NoSuchProcess):  # who inherits it may not have asked how it ended
        assert psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
    last = file.read_text()
    time.sleep(0.3)
    assert file.read_text() == last


def test_work_begins_with_what_trials_need_and_without_what_would_cost_each_run_a_second_more() -> None:
    wanted, costly = ["torch", "timm", "scipy.special"], ["sklearn", "pandas"]
    assert follow(Local().run(partial(imported, wanted + costly)), print) == wanted


def test_what_libraries_say_while_they_are_imported_stands_above_no_run(tmp_path: Path) -> None:
    """torch 2.14 says the first two, and where they are imported for all trials there is no log yet."""
    script = """
import importlib, logging, warnings
from bench.run.executors.local import PRELOADED
[importlib.import_module(name) for name in PRELOADED]
warnings.warn("`torch.jit.script` is deprecated. Please switch to `torch.compile` or `torch.export`.", FutureWarning)
logging.getLogger("torch.utils.cpp_extension").warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr")
logging.getLogger("torch.utils.cpp_extension").warning("a compiler is missing")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "CUDA_HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "a compiler is missing" in done.stderr


@pytest.mark.parametrize("cuda", [True, False])
def test_nothing_asks_cuda_for_its_devices_before_a_trial_is_forked(cuda: bool) -> None:
    """What is forked from a process that has asked cannot use them; this module of torch asks where a toolkit lies."""
    script = f"""
import importlib, sys, torch
from bench.run.executors.local import PRELOADED
torch.backends.cuda.is_built = lambda: {cuda}
[importlib.import_module(name) for name in PRELOADED]
print("torch.utils.cpp_extension" in sys.modules, torch.cuda._is_in_bad_fork())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"{not cuda} False\n", done.stderr


def test_several_pieces_of_work_can_be_under_way_at_once() -> None:
    first, second = Local().run(sleep), Local().run(sleep)
    assert next(filter(None, first)) != next(filter(None, second))
    first.close()
    second.close()


def test_how_work_ended_is_known_whatever_else_is_started_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(number: int) -> Any:
        time.sleep(next(waits))
        return read(number)

    def said(_: int) -> str:
        with pytest.raises(DiedError) as died:
            follow(Local().run(kill), print)
        return str(died.value)

    # What the server says of how a process ended can be read but once: here one who asks may overtake another.
    read, waits = forkserver.read_signed, itertools.cycle([0.0, 0.03, 0.01])
    monkeypatch.setattr(forkserver, "read_signed", slowly)
    with ThreadPoolExecutor(3) as threads:
        ends = set(threads.map(said, range(20)))
    assert ends == {"its process was ended by SIGKILL; the system does that where memory runs out"}


STORM = """
import os, signal, threading, psutil
from operator import truth
from bench.run.executors import follow
from bench.run.executors.local import Local

def interrupt_all():  # as a terminal does, but all the time
    while not over:
        for child in psutil.Process().children(recursive=True):
            try:
                child.send_signal(signal.SIGINT)
            except psutil.NoSuchProcess:
                continue

over = []
thread = threading.Thread(target=interrupt_all)
thread.start()
try:
    said = [follow(Local().run(truth), print) for _ in range(20)]
finally:
    over.append(True)
    thread.join()
assert said == [True] * 20
"""


@pytest.mark.slow
def test_an_interrupt_never_meets_a_process_that_is_not_ready_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GOMP_SPINCOUNT", "10000"),  # threads that wait for each other soon sleep
        ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384"),  # models that take turns do not compile anew
    ],
)
def test_what_libraries_read_once_is_set_there_and_the_user_s_environment_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    there = follow(Local().run(environment), print)
    assert there[variable] == value
    assert variable not in os.environ


def put_aside(emit: Tell) -> int:
    """How many objects no collection looks at."""
    import gc

    return gc.get_freeze_count()


def test_collections_in_a_trial_do_not_walk_through_what_the_server_imported() -> None:
    assert follow(Local().run(put_aside), print) > 100_000


def pages_fetched(emit: Tell) -> int:
    """By the system, for ten pieces of 64 MB, each used and freed after thirty before them.

    What lies behind a piece keeps glibc from giving the same place to the next for the first few.
    """
    import resource

    import torch

    def fetched() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    for round_ in range(40):
        if round_ == 30:
            before = fetched()
        torch.ones(64 * 2**20, dtype=torch.uint8)
    return fetched() - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_is_kept_for_the_next_step_unless_the_user_has_said_how_much() -> None:
    assert follow(Local().run(pages_fetched), print) < 500  # of 163,840
    script = "import bench.run.executors.patience, test_local; print(test_local.pages_fetched(print))"
    asked = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "131072", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=asked, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100_000


def assert_is_over(said: Event) -> None:
    assert isinstance(said, Note)
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.text), 0)

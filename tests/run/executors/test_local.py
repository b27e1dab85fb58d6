"""Work in processes of this machine: their answers, their ends, and nothing left behind in the user's own."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

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


def test_work_that_takes_too_long_is_ended() -> None:
    told: list[Event] = []
    with pytest.raises(TimedOutError):
        follow(Local().run(sleep, timeout=0.5), told.append)
    assert_is_over(told[0])


def test_work_that_nobody_follows_is_ended() -> None:
    working = Local().run(sleep)
    begun = next(working)
    working.close()
    assert_is_over(begun)


def test_several_pieces_of_work_can_be_under_way_at_once() -> None:
    first, second = Local().run(sleep), Local().run(sleep)
    assert next(first) != next(second)
    first.close()
    second.close()


def test_threads_that_wait_for_each_other_soon_sleep_there_and_the_user_s_environment_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    there = follow(Local().run(environment), print)
    assert there["GOMP_SPINCOUNT"] == "1000"
    assert "GOMP_SPINCOUNT" not in os.environ


def assert_is_over(said: Event) -> None:
    assert isinstance(said, Note)
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.text), 0)

"""A trial always leaves a record, whatever executor runs it: shown with a second executor, threads of this process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import RequestError
from bench.errors import BusyError
from bench.events import EpochEnded, Event, Measuring, Note, TrialEnded, TrialLeft, TrialStarted
from bench.hookspecs import DiedError, LostError, TimedOutError
from bench.records.record import Record, read_record
from bench.request import TrialSpec
from bench.run.executors import Limits, run_trials
from bench.run.failure import record_failure
from bench.run.slots import Slots

ONE = Slots(("cpu",), 1, None)

MISBEHAVING = """
import time
from bench import ModelSpec, RequestError, hookimpl

def model(name, misbehave):
    def build(*, num_classes, image_size, pretrained):
        misbehave()
    return ModelSpec(name, build, "mlp")

def refuses():
    raise RequestError("its weights are nowhere to be found")

@hookimpl
def bench_models():
    yield model("exits", lambda: exit(7))
    yield model("refuses", refuses)
    yield model("sleeps", lambda: time.sleep(1))
"""


class Threads:
    """A second executor: work runs in a thread of this process, and is stopped when it next emits something."""

    def run(
        self, work: Callable[..., Any], *, log: Path | None = None, timeout: float | None = None
    ) -> Generator[Event, None, Any]:
        said: queue.Queue[tuple[str, Any]] = queue.Queue()
        stopped = threading.Event()

        def emit(event: Event) -> None:
            if stopped.is_set():
                raise SystemExit
            said.put(("event", event))

        def working() -> None:
            try:
                said.put(("answer", work(emit)))
            except RequestError as error:
                said.put(("error", error))
            except BaseException as error:
                said.put(("error", DiedError(f"its thread ended with {type(error).__name__}: {error}")))

        thread = threading.Thread(target=working)
        thread.start()
        try:
            while True:
                try:
                    kind, message = said.get(timeout=timeout)
                except queue.Empty:
                    raise TimedOutError from None
                if kind == "answer":
                    return message
                if kind == "error":
                    raise message
                yield message
        finally:
            stopped.set()
            thread.join()


@pytest.fixture
def misbehaving(tmp_path: Path) -> Path:
    folder = tmp_path / "misbehaving"
    folder.mkdir()
    (folder / "misbehaving.py").write_text(MISBEHAVING)
    return folder


def test_a_trial_that_ends_well_gives_its_events_and_its_record(tiny_trial: Callable[..., TrialSpec]) -> None:
    spec = tiny_trial("train.epochs=2")
    started, *told, record, ended = run_trials(Threads(), [spec], ONE)
    epochs = [event for event in told if not isinstance(event, Measuring)]
    assert started == TrialStarted("tiny", 0, 2, index=1, total=1, protocol="quick", folder=spec.folder)
    assert [type(event) for event in epochs] == [EpochEnded, EpochEnded]
    assert isinstance(record, Record) and isinstance(ended, TrialEnded)
    assert record.to_json() == read_record(spec.folder / "record.json").to_json()
    assert (ended.index, ended.total, ended.status, ended.message) == (1, 1, "ok", None)


def test_a_trial_that_cannot_write_its_record_has_one_written_and_stops_no_other(
    tiny_trial: Callable[..., TrialSpec], misbehaving: Path
) -> None:
    says = {
        "exits": ("crashed", "its thread ended with SystemExit: 7; see log.txt"),
        "refuses": ("error", "its weights are nowhere to be found"),
        "sleeps": ("timeout", "took longer than 0.5 seconds"),
    }
    specs = [tiny_trial(model=model, plugins=misbehaving) for model in says]
    told = list(run_trials(Threads(), specs, ONE, Limits(timeout=0.5)))
    for spec in specs:
        record = read_record(spec.folder / "record.json")
        assert record.error is not None
        assert (record.status, record.error.message) == says[spec.model]
    ended = [message for message in told if isinstance(message, TrialEnded)]
    assert {end.model: (end.status, end.message) for end in ended} == says


def test_so_many_trials_run_at_once_as_there_are_slots_each_with_a_slot_s_device(
    tiny_trial: Callable[..., TrialSpec],
) -> None:
    class Watched(Threads):
        under_way, most = 0, 0
        devices: list[str] = []  # noqa: RUF012

        def run(self, work: Callable[..., Any], **options: Any) -> Generator[Event, None, Any]:
            (spec,) = work.args  # type: ignore[attr-defined]
            self.devices.append(spec.place.device)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                both.wait(timeout=60)  # passes only where two are under way
                return (yield from super().run(lambda emit: record_failure(spec, spec.known, "oom", "", 0.0)))
            finally:
                self.under_way -= 1

    both = threading.Barrier(2)
    specs = [tiny_trial(seed=seed) for seed in range(4)]
    told = list(run_trials(watched := Watched(), specs, Slots(("left", "right"), 1, None)))
    assert watched.most == 2 and sorted(watched.devices) == ["left", "left", "right", "right"]
    assert sorted(end.seed for end in told if isinstance(end, TrialEnded)) == [0, 1, 2, 3]


def test_where_one_of_several_is_interrupted_the_others_are_stopped_and_say_so(
    tiny_trial: Callable[..., TrialSpec],
) -> None:
    first, second = (tiny_trial("train.epochs=500", seed=seed) for seed in (0, 1))
    specs, told = [first, second, tiny_trial(seed=2)], list[Event]()
    trials = run_trials(Threads(), specs, Slots(("cpu", "cpu"), 2, 1), tell_stopped=told.append)
    seen = set()
    while seen != {0, 1}:
        event = next(trials)
        seen |= {event.seed} if isinstance(event, EpochEnded) else set()
    trials.close()
    ends = [(event.seed, event.status, event.folder) for event in told if isinstance(event, TrialEnded)]
    assert ends == [(0, "interrupted", first.folder), (1, "interrupted", second.folder)]
    assert [read_record(spec.folder / "record.json").status for spec in (first, second)] == ["interrupted"] * 2
    assert not tiny_trial(seed=2).folder.exists()


def test_an_interrupted_trial_s_record_says_so(tiny_trial: Callable[..., TrialSpec]) -> None:
    class Interrupted(Threads):
        def run(self, work: Callable[..., Any], **options: Any) -> Generator[Event, None, Any]:
            for event in super().run(work, **options):
                yield event
                raise KeyboardInterrupt

    spec = tiny_trial("train.epochs=2")
    with pytest.raises(KeyboardInterrupt):
        list(run_trials(Interrupted(), [spec, tiny_trial(seed=1)], ONE))
    assert read_record(spec.folder / "record.json").status == "interrupted"
    assert not tiny_trial(seed=1).folder.exists()


def test_where_nobody_asks_for_more_the_trial_under_way_is_stopped_and_says_so(
    tiny_trial: Callable[..., TrialSpec],
) -> None:
    spec = tiny_trial("train.epochs=500")
    trials = run_trials(Threads(), [spec], ONE)
    while not isinstance(next(trials), EpochEnded):
        pass
    trials.close()
    assert read_record(spec.folder / "record.json").status == "interrupted"


def test_of_a_trial_that_has_ended_that_is_told_where_nobody_asks_for_more(
    tiny_trial: Callable[..., TrialSpec],
) -> None:
    told: list[Event] = []
    trials = run_trials(Threads(), [tiny_trial("train.epochs=1")], ONE, tell_stopped=told.append)
    while not isinstance(next(trials), Record):
        pass
    trials.close()
    (ended,) = told
    assert isinstance(ended, TrialEnded) and ended.status == "ok"


def test_a_trial_that_another_run_is_at_is_left_to_it_and_then_tried_again(
    tiny_trial: Callable[..., TrialSpec],
) -> None:
    class Busy(Threads):
        asked = 0

        def run(self, work: Callable[..., Any], **options: Any) -> Generator[Event, None, Any]:
            self.asked += 1
            if self.asked == 1:
                raise BusyError("another run is at work there")
            return (yield from super().run(work, **options))

    told = [type(one) for one in run_trials(Busy(), [tiny_trial("train.epochs=1")], ONE)]
    assert told[:3] == [TrialStarted, TrialLeft, TrialStarted]
    assert told[-2:] == [Record, TrialEnded] and told.count(TrialEnded) == 1


class Dying(Threads):
    """Ends the first trials with that error, after their first epoch; the others go on from what is there."""

    def __init__(self, error: DiedError, times: int) -> None:
        self.error, self.left, self.fresh = error, times, list[bool]()

    def run(self, work: Callable[..., Any], **options: Any) -> Generator[Event, None, Any]:
        (spec,) = work.args  # type: ignore[attr-defined]
        self.fresh.append(spec.fresh)
        self.left -= 1
        trial = super().run(work, **options)
        while True:
            try:
                event = next(trial)
            except StopIteration as end:
                return end.value
            yield event
            if self.left >= 0 and isinstance(event, EpochEnded):
                trial.close()
                raise self.error


LOST, DIED = LostError("its machine is gone"), DiedError("its process was ended by SIGKILL")


@pytest.mark.parametrize(
    ("error", "times", "retries", "tries"),
    [
        (LOST, 2, None, 3),
        (LOST, 9, None, 3),
        (LOST, 9, 0, 1),
        (DIED, 9, None, 1),
        (DIED, 1, 3, 2),
        (DIED, 9, 3, 4),
    ],
)
def test_a_trial_that_died_is_tried_again_as_often_as_is_said_and_then_its_record_says_so(
    error: DiedError, times: int, retries: int | None, tries: int, tiny_trial: Callable[..., TrialSpec]
) -> None:
    spec = replace(tiny_trial("train.epochs=40"), fresh=True)
    dying = Dying(error, times)
    told = list(run_trials(dying, [spec], ONE, Limits(retries=retries)))
    (record,) = [one for one in told if isinstance(one, Record)]
    assert dying.fresh == [True, *[False] * (tries - 1)]  # what it had reached is not thrown away
    notes = [one.text for one in told if isinstance(one, Note)]
    assert len(notes) == tries - 1
    if times < tries:
        assert record.status == "ok" and notes[0].startswith(f"tiny, seed 0: {error}; tried again, 1 of")
    else:
        often = f"; {tries} tries" if tries > 1 else ""
        assert record.status == "crashed" and record.error is not None
        assert record.error.message == f"{error}{often}; see log.txt"

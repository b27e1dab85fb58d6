"""Progress says what is going on: one line an event without a terminal, a bar with one."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.cli.progress import Bars, PlainLines, TimeLeft, describe, duration
from bench.events import DataProgress, EpochEnded, Event, Note, TrialEnded, TrialStarted

STORY: list[Event] = [
    Note("protocol quick"),
    DataProgress("digits", 256, 1797),
    DataProgress("digits", 1797, 1797),
    TrialStarted("vgg[19]", seed=0, epochs=2, index=1, total=2),
    EpochEnded("vgg[19]", 0, epoch=1, epochs=2, train_loss=1.5, val_loss=1.25, val_top1=0.5, seconds=3.04),
    EpochEnded("vgg[19]", 0, epoch=2, epochs=2, train_loss=0.5, val_loss=0.75, val_top1=0.75, seconds=3.04),
    TrialEnded("vgg[19]", 0, "ok", seconds=61, index=1, total=2, test_top1=0.875),
    TrialStarted("broken", seed=0, epochs=2, index=2, total=2),
    TrialEnded("broken", 0, "crashed", seconds=1, index=2, total=2, message="ended by SIGKILL"),
]


def test_without_a_terminal_each_event_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainLines(quiet=False) as watch:
        for event in STORY:
            watch(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "protocol quick",
        "digits: 1,797 pictures decoded",
        "[1/2] vgg[19] seed 0",
        "  vgg[19] epoch 1/2: loss 1.500, validation 1.250, top-1 50.00%, 3.0 s",
        "  vgg[19] epoch 2/2: loss 0.500, validation 0.750, top-1 75.00%, 3.0 s",
        "[1/2] vgg[19] seed 0: ok, test top-1 87.50%, 1 min 01 s",
        "[2/2] broken seed 0",
        "[2/2] broken seed 0: crashed, ended by SIGKILL, 1 s",
    ]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainLines(quiet=True) as watch:
        for event in STORY:
            watch(event)
    assert capsys.readouterr() == ("", "")


def test_the_bar_shows_the_model_its_epoch_loss_and_accuracy_and_what_is_left() -> None:
    screen = io.StringIO()
    watch = Bars()
    watch.console = Console(file=screen, force_terminal=True, width=140, highlight=False)
    watch.progress.live.console = watch.console
    with watch:
        for event in STORY:
            watch(event)
            watch.progress.refresh()
    shown = screen.getvalue()
    for expected in (
        "all trials",
        "vgg[19] seed 0",
        "loss 0.500",
        "top-1 75.00%",
        "1 of 2",
        "left",
        "ended by SIGKILL",
    ):
        assert expected in shown


def test_no_time_left_is_guessed_before_anything_is_done() -> None:
    left = TimeLeft()
    assert left.seconds() is None
    left(TrialStarted("m", 0, epochs=2, index=1, total=2))
    assert left.seconds() is None


def test_time_left_follows_from_the_share_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("bench.cli.progress.time.monotonic", lambda: now)
    left = TimeLeft()
    now = 100.0  # decoding pictures does not count
    left(TrialStarted("m", 0, epochs=2, index=1, total=2))
    now = 110.0
    left(EpochEnded("m", 0, 1, 2, 1.0, 1.0, 0.5, 10.0))
    assert left.seconds() == pytest.approx(30)  # half of one of two trials took 10 s
    now = 120.0
    left(TrialEnded("m", 0, "ok", 20.0, 1, 2))
    assert left.seconds() == pytest.approx(20)
    left(TrialEnded("n", 0, "ok", 20.0, 2, 2))
    assert left.seconds() == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations_are_said_as_a_person_would(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@given(st.floats(0, 1e7))
def test_a_duration_never_has_sixty_of_anything(seconds: float) -> None:
    assert " 60 " not in f" {duration(seconds)} "


def test_every_event_has_at_most_one_line() -> None:
    assert all("\n" not in (describe(event) or "") for event in STORY)

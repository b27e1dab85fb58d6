"""Progress says what is going on: one line an event without a terminal, a bar with one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.cli import progress
from bench.cli.progress import Bars, PlainLines, Screen, describe, duration
from bench.events import (
    DataProgress,
    EpochEnded,
    Event,
    Expected,
    Note,
    ReportProgress,
    TrialEnded,
    TrialLeft,
    TrialStarted,
)

ended = partial(TrialEnded, folder=Path("results"))
started = partial(TrialStarted, protocol="quick", folder=Path("results"))

STORY: list[Event] = [
    Note("protocol quick"),
    DataProgress("digits", 256, 1797),
    DataProgress("digits", 1797, 1797),
    started("vgg[19]", seed=0, epochs=2, index=1, total=2),
    EpochEnded("vgg[19]", 0, epoch=1, epochs=2, train_loss=1.5, val_loss=1.25, val_top1=0.5, seconds=3.04),
    EpochEnded("vgg[19]", 0, epoch=2, epochs=2, train_loss=0.5, val_loss=0.75, val_top1=0.75, seconds=3.04),
    ended("vgg[19]", 0, "ok", seconds=61, index=1, total=2, test_top1=0.875),
    started("broken", seed=0, epochs=2, index=2, total=2),
    ended("broken", 0, "crashed", seconds=1, index=2, total=2, message="ended by SIGKILL"),
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


def test_the_bar_of_all_goes_by_what_each_trial_is_expected_to_take() -> None:
    bars = Bars(Screen())
    bars(Expected({("short", 0): 10.0, ("long", 0): 90.0}))
    bars(started("short", seed=0, epochs=2, index=1, total=2))
    bars(ended("short", 0, "ok", seconds=61, index=1, total=2, test_top1=0.875))
    (task,) = [one for one in bars.surface.progress.tasks if one.description == "all trials"]
    assert (task.completed, task.total) == (10.0, 100.0)
    bars(started("long", seed=0, epochs=2, index=2, total=3))  # and one that was added meanwhile
    bars(EpochEnded("long", 0, epoch=1, epochs=2, train_loss=1.5, val_loss=1.25, val_top1=0.5, seconds=3.04))
    assert (task.completed, task.total) == (55.0, 150.0)


def test_decoding_tells_now_and_then_how_fast_it_is_and_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with PlainLines(quiet=False) as watch:
        for second, done in enumerate(range(5000, 100_000, 1000)):  # 4,000 of them were decoded before
            now = 100.0 + second
            watch(DataProgress("folder:x", done, 100_000))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "folder:x: 15,000 of 100,000 pictures decoded, 1,000/s, 1 min 25 s left"
    assert len(lines) == 9


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainLines(quiet=True) as watch:
        for event in STORY:
            watch(event)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def screen() -> Iterator[tuple[Bars, io.StringIO]]:
    """Bars as in a terminal, and what that terminal is sent."""
    written = io.StringIO()
    bars = Bars(Screen())
    bars.surface.console = Console(file=written, force_terminal=True, width=160, highlight=False)
    bars.surface.progress.live.console = bars.surface.console
    with bars:
        yield bars, written


def shown(screen: tuple[Bars, io.StringIO], *events: Event) -> str:
    """What the terminal shows once it was told of the events."""
    bars, written = screen
    for event in events:
        bars(event)
    written.seek(0)
    written.truncate()
    bars.surface.progress.refresh()
    return written.getvalue()


def test_the_bar_shows_the_model_its_epoch_loss_and_accuracy_and_what_is_done(
    screen: tuple[Bars, io.StringIO],
) -> None:
    now = shown(screen, *STORY[:6])
    for expected in ("all trials", "0 of 2", "vgg[19] seed 0", "loss 0.500", "top-1 75.00%"):
        assert expected in now
    assert "pictures decoded" not in now
    later = shown(screen, *STORY[6:8])
    assert "1 of 2" in later and "broken seed 0" in later and "vgg[19] seed 0" not in later


def test_what_is_done_scrolls_by_above(screen: tuple[Bars, io.StringIO]) -> None:
    bars, written = screen
    for event in STORY:
        bars(event)
    assert "[1/2] vgg[19] seed 0: ok, test top-1 87.50%" in written.getvalue()
    assert "ended by SIGKILL" in written.getvalue()


def test_trials_that_run_at_once_have_a_bar_each(screen: tuple[Bars, io.StringIO]) -> None:
    now = shown(
        screen,
        started("vit", seed=0, epochs=2, index=1, total=3),
        started("vit", seed=1, epochs=2, index=2, total=3),
        EpochEnded("vit", 1, epoch=1, epochs=2, train_loss=1.5, val_loss=1.25, val_top1=0.5, seconds=3.04),
    )
    assert "vit seed 0" in now and "vit seed 1" in now and "0 of 3" in now
    later = shown(screen, ended("vit", 1, "ok", 6.0, index=2, total=3, test_top1=0.5))
    assert "vit seed 0" in later and "vit seed 1" not in later and "1 of 3" in later
    overall = next(task for task in screen[0].surface.progress.tasks if task.description == "all trials")
    assert (overall.completed, overall.total) == (1, 3)  # the other one has not ended its first epoch
    left = shown(screen, TrialLeft("vit", 0))
    assert "vit seed 0" not in left and "1 of 3" in left
    assert describe(TrialLeft("vit", 0)) == "vit seed 0: another run is at it"


def test_the_time_left_follows_from_the_epochs_of_all_trials(
    screen: tuple[Bars, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    bars, _ = screen
    monkeypatch.setattr(bars.surface.progress, "get_time", lambda: now)

    def epoch(number: int) -> EpochEnded:
        return EpochEnded("m", 0, number, 4, 1.0, 1.0, 0.5, 100.0)

    shown(screen, started("m", 0, epochs=4, index=1, total=2))
    now = 100.0
    shown(screen, epoch(1))
    now = 200.0
    assert "0:10:00" in shown(screen, epoch(2))  # a quarter is done, at 100 s an epoch; six epochs are left


def test_files_of_a_report_are_counted_in_a_bar_and_nowhere_else(screen: tuple[Bars, io.StringIO]) -> None:
    made = ReportProgress(done=3, total=7, file="index.html")
    assert "3 of 7" in shown(screen, made)
    assert describe(made) is None


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

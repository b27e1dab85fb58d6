"""Progress as a person likes to watch it: a bar with the time left, or plain lines where there is no terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Hashable
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.cli.notebook import Cell, in_notebook
from bench.cli.printing import plain
from bench.events import (
    Checking,
    DataProgress,
    EpochEnded,
    Event,
    Expected,
    Measuring,
    Note,
    ReportProgress,
    TimingTogether,
    TrialEnded,
    TrialLeft,
    TrialStarted,
)

# Seconds between lines of work that goes on.
NOW_AND_THEN = 10.0


def watch(quiet: bool) -> Bars | PlainLines:
    """Bars in a notebook and in a terminal, lines elsewhere, nothing where quiet is asked for."""
    if not quiet and in_notebook():
        return Bars(Cell())
    return PlainLines(quiet) if quiet or not sys.stderr.isatty() else Bars(Screen())


class Speed:
    """How many pictures of a dataset are decoded a second, since it was first told of."""

    def __init__(self) -> None:
        self.began: dict[str, tuple[float, int]] = {}

    def of(self, event: DataProgress) -> float | None:
        """None where that is not known yet."""
        now = time.monotonic()
        start, before = self.began.setdefault(event.dataset, (now, event.done))
        return (event.done - before) / (now - start) if now > start and event.done > before else None


class PlainLines:
    """One line an event, for logs and pipes; of what is told often, one now and then."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.speed, self.told = Speed(), time.monotonic()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to restore."""

    def __call__(self, event: Event) -> None:
        line = self._decoding(event) if isinstance(event, DataProgress) else describe(event)
        if line is not None and not self.quiet:
            print(plain(line), file=sys.stderr, flush=True)

    def _decoding(self, event: DataProgress) -> str | None:
        speed = self.speed.of(event)
        if event.done == event.total:
            return describe(event)
        if speed is None or time.monotonic() - self.told < NOW_AND_THEN:
            return None
        self.told = time.monotonic()
        left = duration((event.total - event.done) / speed)
        return f"{event.dataset}: {event.done:,} of {event.total:,} pictures decoded, {speed:,.0f}/s, {left} left"


class Surface(Protocol):
    """Where bars are drawn."""

    def start(self) -> None:
        """From now on."""

    def stop(self) -> None:
        """No more; lines that were said stay."""

    def show(self, key: Hashable, description: str, done: float, total: float, detail: str) -> None:
        """A bar for the key, or another state of its bar."""

    def remove(self, key: Hashable) -> None:
        """No bar for the key."""

    def say(self, line: str) -> None:
        """A line that stays."""


class Screen:
    """A terminal, with what is left of the time beside each bar."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            speed_estimate_period=math.inf,  # the time left follows from all epochs, not from the last half minute's
        )
        self.bars: dict[Hashable, TaskID] = {}

    def start(self) -> None:
        """From now on."""
        self.progress.start()

    def stop(self) -> None:
        """No more; lines that were said stay."""
        self.progress.stop()

    def show(self, key: Hashable, description: str, done: float, total: float, detail: str) -> None:
        """A bar for the key, or another state of its bar."""
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(plain(description), total=total, detail=detail)
        self.progress.update(self.bars[key], description=plain(description), completed=done, total=total, detail=detail)

    def remove(self, key: Hashable) -> None:
        """No bar for the key."""
        if key in self.bars:
            self.progress.remove_task(self.bars.pop(key))

    def say(self, line: str) -> None:
        """A line that stays, above the bars."""
        self.console.print(plain(line), markup=False, soft_wrap=True)


class Bars:
    """A bar for all trials with the time left, and one for each thing under way; what is done scrolls by above."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.under_way: dict[tuple[str, int], float] = {}  # the share of each trial's epochs that is done
        self.ended = 0
        self.total = 0
        # What each trial is expected to take: the bar of all goes by that.
        self.expected: dict[tuple[str, int], float] = {}
        self.done = 0.0
        self.speed = Speed()

    def __enter__(self) -> Bars:
        self.surface.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.surface.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Note():
                self._print(event)
            case DataProgress():
                speed = self.speed.of(event)
                detail = "pictures" if speed is None else f"{speed:,.0f} pictures/s"
                self.surface.show("data", event.dataset, event.done, event.total, detail)
            case Measuring() if event.brief:
                pass  # the trial's bar stands for it
            case Measuring():
                done = f"{event.done} of {event.total}"
                self.surface.show("measuring", f"{event.model}: {event.quantity}", event.done, event.total, done)
            case TimingTogether():
                detail = f"{_models(event.models)}: {event.series}"
                self.surface.show("timing", "side by side", event.done + event.share, event.total, detail)
            case ReportProgress():
                self.surface.show("report", "files", event.done, event.total, f"{event.done} of {event.total}")
            case Expected():
                self.expected |= event.seconds
            case TrialStarted():
                self.total = event.total
                self.surface.remove("data")
                self._trial(event, 0, "starting")
            case EpochEnded():
                self._trial(event, event.epoch, _state(event))
            case TrialLeft():
                self.under_way.pop((event.model, event.seed), None)
                self.surface.remove((event.model, event.seed))
            case TrialEnded():
                self._print(event)
                self.ended += 1
                self.done += self._worth((event.model, event.seed))
                self.under_way.pop((event.model, event.seed), None)
                self.surface.remove((event.model, event.seed))
                self._all_trials()

    def _trial(self, event: TrialStarted | EpochEnded, epoch: int, detail: str) -> None:
        trial = event.model, event.seed
        self.under_way[trial] = epoch / event.epochs
        self._all_trials()
        self.surface.show(trial, f"{event.model} seed {event.seed}", epoch, event.epochs, detail)

    def _all_trials(self) -> None:
        under_way = sum(share * self._worth(trial) for trial, share in self.under_way.items())
        total = sum(self.expected.values()) + max(0, self.total - len(self.expected)) * self._worth(None)
        self.surface.show("all", "all trials", self.done + under_way, total, f"{self.ended} of {self.total}")

    def _worth(self, trial: tuple[str, int] | None) -> float:
        """What a trial counts in the bar of all: its seconds, of one that nobody expected those of a mean one."""
        if trial in self.expected:
            return self.expected[trial]
        return sum(self.expected.values()) / len(self.expected) if self.expected else 1.0

    def _print(self, event: Event) -> None:
        self.surface.say(describe(event) or "")


def describe(event: Event) -> str | None:
    """The event as one line; None for what is worth none."""
    match event:
        case Note():
            return event.text
        case Checking() | ReportProgress() | Expected():
            return None
        case DataProgress():
            return f"{event.dataset}: {event.done:,} pictures decoded" if event.done == event.total else None
        case Measuring():
            return None if event.brief else f"[{event.done + 1}/{event.total}] {event.model}: {event.quantity}"
        case TimingTogether():
            if event.share:
                return None
            return f"[{event.done + 1}/{event.total}] {_models(event.models)} side by side: {event.series}"
        case TrialStarted():
            return f"[{event.index}/{event.total}] {event.model} seed {event.seed}"
        case EpochEnded():
            return f"  {event.model} epoch {event.epoch}/{event.epochs}: {_state(event)}, {event.seconds:.1f} s"
        case TrialLeft():
            return f"{event.model} seed {event.seed}: another run is at it"
        case TrialEnded():
            end = f"test top-1 {event.test_top1:.2%}" if event.test_top1 is not None else f"{event.message}"
            return f"[{event.index}/{event.total}] {event.model} seed {event.seed}: {event.status}, {end}, " + duration(
                event.seconds
            )


def _state(event: EpochEnded) -> str:
    return f"loss {event.train_loss:.3f}, validation {event.val_loss:.3f}, top-1 {event.val_top1:.2%}"


def _models(count: int) -> str:
    return f"{count} model" if count == 1 else f"{count} models"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

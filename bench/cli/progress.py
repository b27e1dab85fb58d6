"""Progress as a person likes to watch it: a bar with the time left, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.events import (
    Checking,
    DataProgress,
    EpochEnded,
    Event,
    Measuring,
    Note,
    ReportProgress,
    TrialEnded,
    TrialStarted,
)


def watch(quiet: bool) -> Bars | PlainLines:
    """Bars in a terminal, lines elsewhere, nothing where quiet is asked for."""
    return PlainLines(quiet) if quiet or not sys.stderr.isatty() else Bars()


class PlainLines:
    """One line an event, for logs and pipes."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to restore."""

    def __call__(self, event: Event) -> None:
        line = describe(event)
        if line is not None and not self.quiet:
            print(line, file=sys.stderr, flush=True)


class Bars:
    """An overall bar with the time left, and a line for the model under way; what is done scrolls by above."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self.overall: TaskID | None = None
        self.current: TaskID | None = None
        self.remaining = TimeLeft()

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        self.remaining(event)
        match event:
            case Note() | TrialEnded():
                self.console.print(describe(event), markup=False, soft_wrap=True)
            case DataProgress():
                self._show(event.dataset, event.done, event.total, "pictures decoded")
            case Measuring():
                self._show(
                    f"{event.model}: {event.quantity}", event.done, event.total, f"{event.done} of {event.total}"
                )
            case ReportProgress():
                self._show("files", event.done, event.total, f"{event.done} of {event.total}")
            case TrialStarted():
                self._overall(event.index - 1, event.total)
                self._show(f"{event.model} seed {event.seed}", 0, event.epochs, "starting")
            case EpochEnded():
                self._show(f"{event.model} seed {event.seed}", event.epoch, event.epochs, _state(event))
        if isinstance(event, TrialEnded):
            self._overall(event.index, event.total)
        elif isinstance(event, EpochEnded) and self.overall is not None:
            self.progress.update(self.overall, detail=self._left())

    def _overall(self, done: int, total: int) -> None:
        if self.overall is None:
            self.overall = self.progress.add_task("all trials", total=total, detail="")
        self.progress.update(self.overall, completed=done, detail=f"{done} of {total}{self._left()}")

    def _show(self, description: str, done: int, total: int, detail: str) -> None:
        if self.current is None:
            self.current = self.progress.add_task(description, total=total, detail=detail)
        self.progress.update(self.current, description=description, completed=done, total=total, detail=detail)

    def _left(self) -> str:
        seconds = self.remaining.seconds()
        return "" if seconds is None else f", about {duration(seconds)} left"


class TimeLeft:
    """Estimates what is left of a run from the trials done and the epochs of the one under way."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.done = 0.0  # trials, the one under way by the share of its epochs
        self.total = 0

    def __call__(self, event: Event) -> None:
        match event:
            case TrialStarted():
                if event.index == 1:
                    self.started = time.monotonic()
                self.done, self.total = event.index - 1, event.total
            case EpochEnded():
                self.done = int(self.done) + min(0.99, event.epoch / event.epochs)
            case TrialEnded():
                self.done = event.index

    def seconds(self) -> float | None:
        """Seconds left if the rest goes as fast as what is done; None before anything is."""
        if not self.done:
            return None
        return (time.monotonic() - self.started) * (self.total - self.done) / self.done


def describe(event: Event) -> str | None:
    """The event as one line; None for what is worth none."""
    match event:
        case Note():
            return event.text
        case Checking() | ReportProgress():
            return None
        case DataProgress():
            return f"{event.dataset}: {event.done:,} pictures decoded" if event.done == event.total else None
        case Measuring():
            return f"[{event.done + 1}/{event.total}] {event.model}: {event.quantity}"
        case TrialStarted():
            return f"[{event.index}/{event.total}] {event.model} seed {event.seed}"
        case EpochEnded():
            return f"  {event.model} epoch {event.epoch}/{event.epochs}: {_state(event)}, {event.seconds:.1f} s"
        case TrialEnded():
            end = f"test top-1 {event.test_top1:.2%}" if event.test_top1 is not None else f"{event.message}"
            return f"[{event.index}/{event.total}] {event.model} seed {event.seed}: {event.status}, {end}, " + duration(
                event.seconds
            )


def _state(event: EpochEnded) -> str:
    return f"loss {event.train_loss:.3f}, validation {event.val_loss:.3f}, top-1 {event.val_top1:.2%}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

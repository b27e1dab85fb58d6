"""Progress below the cell of a notebook that waits for it: what the bars say in a terminal, as HTML drawn anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable
from html import escape
from importlib import import_module
from typing import Any

from bench.cli.printing import plain

# Seconds between two drawings: a notebook keeps what it is sent until the browser has drawn it.
BETWEEN = 0.2


def in_notebook() -> bool:
    """Whether what is shown is shown in a notebook: whoever runs in one has IPython imported."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


class Cell:
    """Where bars are drawn in a notebook; see bench.cli.progress.Surface."""

    def __init__(self) -> None:
        self.bars: dict[Hashable, tuple[str, float, float, str]] = {}
        self.began: dict[Hashable, float] = {}
        self.lines: list[str] = []
        self.drawn = 0.0
        self.shown: Any = None
        self.handle: Any = None

    def start(self) -> None:
        """Below the cell from now on."""
        self.shown = import_module("IPython.display")  # no dependency: it is there wherever a notebook is
        self.handle = self.shown.display(self.shown.HTML(""), display_id=True)

    def stop(self) -> None:
        """What is done stays; the bars go."""
        self.bars.clear()
        self._draw()

    def show(self, key: Hashable, description: str, done: float, total: float, detail: str) -> None:
        """A bar for the key, or another state of its bar."""
        began = self.began.setdefault(key, time.monotonic())
        if 0 < done < total and (left := (time.monotonic() - began) * (total / done - 1)) >= 1:
            detail += f", {left:,.0f} s left"
        self.bars[key] = description, done, total, detail
        self._draw(sparing=True)

    def remove(self, key: Hashable) -> None:
        """No bar for the key."""
        self.bars.pop(key, None)
        self.began.pop(key, None)
        self._draw(sparing=True)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.lines.append(line)
        self._draw()

    def html(self) -> str:
        """What is shown: lines of what is done, then the bars."""
        rows = (
            f"<tr><td>{escape(plain(description))}</td>"
            f'<td><progress max="{max(total, 1e-9):g}" value="{done:g}"></progress></td>'
            f"<td>{escape(plain(detail))}</td></tr>"
            for description, done, total, detail in self.bars.values()
        )
        lines = escape("\n".join(map(plain, self.lines)))
        return f'<pre style="margin: 0; white-space: pre-wrap">{lines}</pre><table>{"".join(rows)}</table>'

    def _draw(self, sparing: bool = False) -> None:
        if self.handle is None or (sparing and time.monotonic() - self.drawn < BETWEEN):
            return
        self.handle.update(self.shown.HTML(self.html()))
        self.drawn = time.monotonic()

"""What the tests of faults share: the plugin that does harm, one that does none, and the command under way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.records.record import Record, read_record

FAULTY = Path(__file__).resolve().parents[2] / "benchmarks" / "faults" / "faulty.py"
# What is not of the plugin, and what every one of its faults must leave alone.
OTHER = """
from bench import ModelSpec, hookimpl

def build(*, num_classes, image_size, pretrained):
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())

@hookimpl
def bench_models():
    yield ModelSpec("other", build, family="cnn")
"""
PROTOCOL = """
name = "small"
seeds = [0]
data = { dataset = "digits", image_size = 8, validation = 0.2, test_limit = 60 }
model = { weights = "scratch" }
optimizer = { name = "adam", learning_rate = 0.01 }
schedule = { name = "constant" }
train = { what = "full", epochs = 3, batch_size = 32, precision = "fp32", limit = 96 }
"""
PLAIN = ("run", "--protocol", "small.toml", "--no-timing")
# Two at a time: where trials share a device nothing is timed, which takes most of so small a trial.
RUN = (*PLAIN, "--jobs", "2")

Bench = Callable[..., "subprocess.CompletedProcess[str]"]


def furnish(folder: Path) -> Path:
    """A working directory with both plugins and the protocol."""
    (folder / "plugins").mkdir()
    shutil.copy(FAULTY, folder / "plugins")
    (folder / "plugins" / "other.py").write_text(OTHER)
    (folder / "small.toml").write_text(PROTOCOL)
    return folder


def record(place: Path, model: str = "tiny") -> Record:
    return read_record(place / "results" / "small" / model / "seed0" / "record.json")


def compared(record: Record) -> dict[str, Any]:
    """What a trial comes to, without what differs from one run to the next."""
    assert record.accuracy is not None and record.training is not None
    history = record.training.history.model_dump()
    return {"accuracy": record.accuracy.model_dump(), "history": history, "best": record.training.best_epoch}


class Started:
    """The command under way; `until(text)` waits for a line of its standard error."""

    def __init__(self, place: Path, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments],
            cwd=place,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            # A shell starts what runs in its background with Ctrl-C ignored, and that would be inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.said: list[str] = []

    def until(self, text: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if text in line:
                return
        raise AssertionError(f"never said {text!r}: {''.join(self.said)}")

    def end(self) -> tuple[int, str]:
        try:
            _, rest = self.process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()  # else what is held would wait for ever
            raise
        return self.process.returncode, "".join(self.said) + rest


def one_line(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    """Each text stands in a line of standard error, and there is no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    for text in texts:
        assert any(text in line for line in done.stderr.splitlines()), done.stderr

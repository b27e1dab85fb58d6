"""Timing sessions: results/<protocol>/timing/<N>.json. In each, several models were timed side by side, in turns.

Times of models compare only where they were taken together: between two sessions the machine itself changes. So a
session goes through its models in rounds, one after the other and every second round backwards; two rounds, there and
back, are a block, in which a slow drift of the machine cancels. What another process did meanwhile is known of each
block. A session times several things, each a series of its own: a picture's latency, throughput, a training step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from bench.files import read_regular
from bench.records.efficiency import Amount, Part
from bench.records.identity import Terms, Way
from bench.records.median import median_interval

SCHEMA = 1
FOLDER = "timing"
BLOCK = 2  # rounds
# A series takes so long for each of its models, and so long in all where these are few, or one: then there is no ratio
# that a quieter moment would tell better.
MOST_SECONDS, LEAST_SECONDS, ALONE_SECONDS = 3.0, 12.0, 6.0
LEAST_BLOCKS = 6  # fewer give no interval by order statistics


def longest(models: int) -> float:
    """The most seconds that a series of so many models takes."""
    return max(MOST_SECONDS * models, LEAST_SECONDS if models > 1 else ALONE_SECONDS)


class Series(Part):
    """Seconds of one run, of `images` pictures, each round's median; the rounds are those of the whole session."""

    images: int = Field(ge=1)
    rounds: list[Amount]


class TimedModel(Part):
    """A model of the session, as its trial's record names it, and its times by series.

    `code` is the SHA-256 of its plugin's source when it was trained, `code_now` that of the source that built it here
    where that is another; `weights` that of the trained weights that it had; null: random ones. `errors` says why a
    series is missing.
    """

    name: str
    code: str
    code_now: str | None = None
    weights: str | None = None
    series: dict[str, Series] = {}
    errors: dict[str, str] = {}


class Session(Part):
    """Models timed together. `others`: by series, the cores that other processes kept busy in each of its blocks.

    A block is disturbed where these are more than `quiet_cores`.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    schema_version: int = Field(default=SCHEMA, alias="schema")
    protocol: str  # fingerprints
    data: str
    way: Way | None
    environment: dict[str, Any]
    settings: dict[str, Any]
    quiet_cores: float
    others: dict[str, list[Amount]]
    models: list[TimedModel]

    @property
    def terms(self) -> Terms:
        """What it shares with the trials of its models."""
        return Terms(self.protocol, self.data, self.way)

    @cached_property
    def by_name(self) -> dict[str, TimedModel]:
        """The models by their names."""
        return {model.name: model for model in self.models}

    def times(self, model: str, series: str) -> Times | None:
        """The model's times of that series; None where it has none."""
        timed = self.by_name.get(model)
        found = timed.series.get(series) if timed else None
        if found is None or not found.rounds or min(found.rounds) <= 0:
            return None
        others = self.others.get(series, [])
        return Times(found.images, blocks_of(found.rounds), tuple(one <= self.quiet_cores for one in others))


@dataclass(frozen=True)
class Times:
    """One model's in one session: the logarithm of the seconds of a run, by block, and which blocks were quiet."""

    images: int
    logs: tuple[float, ...]
    quiet: tuple[bool, ...]

    @property
    def disturbed(self) -> str:
        """What disturbed the session too much for an interval; empty where nothing did."""
        count = sum(self.quiet)
        if count >= min(LEAST_BLOCKS, len(self.quiet)):
            return ""
        return f"other processes were at work in {len(self.quiet) - count} of {len(self.quiet)} blocks of rounds"

    @property
    def used(self) -> tuple[bool, ...]:
        """Which blocks count: the quiet ones, or all where too few were."""
        return (True,) * len(self.quiet) if self.disturbed else self.quiet

    @cached_property
    def level(self) -> Level:
        """The time itself, on the logarithmic scale."""
        return Level.of([log for log, used in zip(self.logs, self.used, strict=True) if used])

    def against(self, other: Times) -> Level:
        """The ratio to another model of the same session, on the logarithmic scale."""
        both = zip(self.logs, other.logs, self.used, strict=True)
        return Level.of([own - its for own, its, used in both if used])


@dataclass(frozen=True)
class Level:
    """A median over blocks, and its 95 % interval by order statistics; None with fewer than six blocks."""

    median: float
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Level:
        ordered = sorted(values)
        middle = len(ordered) // 2
        median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        return cls(median, median_interval(ordered))

    @property
    def reach(self) -> float:
        """How far the interval reaches from the median, on the side where it reaches farther; infinite without one."""
        return max(self.median - self.interval[0], self.interval[1] - self.median) if self.interval else math.inf


def blocks_of(rounds: Sequence[float]) -> tuple[float, ...]:
    """The mean logarithm of each block of rounds; rounds that fill no block are left out."""
    logs = [math.log(one) for one in rounds]
    return tuple(math.fsum(logs[start : start + BLOCK]) / BLOCK for start in range(0, len(logs) - BLOCK + 1, BLOCK))


@dataclass(frozen=True)
class Kept:
    """A session and the file that it lies in."""

    file: Path
    session: Session
    digest: str  # SHA-256 of the file


def session_files(protocol_folder: Path) -> list[Path]:
    """The sessions of a protocol's folder, in the order in which they were taken."""
    return sorted((protocol_folder / FOLDER).glob("[0-9]*.json"), key=lambda file: (len(file.name), file.name))


def read_sessions(protocol_folder: Path) -> tuple[list[Kept], list[str]]:
    """The sessions of a protocol's folder, and a line for each damaged one, which is left out."""
    found, damaged = [], []
    for file in session_files(protocol_folder):
        try:
            content = read_regular(file)
            session = Session.model_validate_json(content)
        except OSError as error:
            damaged.append(f"{file}: cannot be read: {error.strerror}")
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            damaged.append(f"{file}: not a timing session: {where}: {problem['msg']}; remove it, or take another one")
        else:
            found.append(Kept(file, session, hashlib.sha256(content).hexdigest()))
    return found, damaged


def next_file(protocol_folder: Path) -> Path:
    """Where the next session goes."""
    taken = [int(file.stem) for file in session_files(protocol_folder) if file.stem.isdigit()]
    return protocol_folder / FOLDER / f"{max(taken, default=0) + 1}.json"

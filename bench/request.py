"""What a run and a trial are given. Free of torch: the process that the user started makes it, another one uses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.data.cache import Stored
from bench.files import trial_folder
from bench.protocol import Protocol


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights, its SHA-256, and where it is from; `published`: by timm, for this very model.

    `through_timm` says that timm builds the model, and so adapts the weights to it.
    """

    file: Path
    sha256: str
    origin: str
    through_timm: bool
    published: bool = False


@dataclass(frozen=True)
class RunOptions:
    """How trials are run, which changes their times but not what they compute.

    `feature_memory`: the most bytes of main memory for a frozen prefix's features; None: half of what is free.
    """

    frozen_prefix: bool = True
    feature_memory: int | None = None
    compile: bool = False

    def record(self) -> dict[str, bool]:
        """What a record says of them, and what has to be equal for a record to stand for a trial."""
        return {"frozen_prefix": self.frozen_prefix, "compile": self.compile}


@dataclass(frozen=True)
class Request:
    """What is to be run: model names with their options, under one protocol."""

    models: tuple[str, ...]
    protocol: Protocol
    device: str
    plugin_folders: tuple[Path, ...]
    working_directory: Path
    # As typed: MODEL=FILE.
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ready:
    """What is found ready for a request: the decoded data, and the weights of each model that takes a file's."""

    stored: Stored
    weights: dict[str, Weights]


@dataclass(frozen=True)
class TrialSpec:
    """One model (as asked for, with its options), one seed, one protocol, and where everything is."""

    model: str
    seed: int
    protocol: Protocol
    stored: Stored
    results: Path
    device: str
    plugin_folders: tuple[Path, ...]
    working_directory: Path
    weights: Weights | None = None
    options: RunOptions = RunOptions()

    @property
    def folder(self) -> Path:
        """Where the trial's files go."""
        return trial_folder(self.results, self.model, self.seed)


@dataclass(frozen=True)
class MeasureRequest:
    """What to measure of which models, and how."""

    models: tuple[str, ...]
    image_size: int
    classes: int
    batches: tuple[int, ...]
    train_batch: int
    only: tuple[str, ...]
    rounds: int
    precision: str
    channels_last: bool
    compile: bool
    device: str
    results: Path
    plugin_folders: tuple[Path, ...]
    working_directory: Path

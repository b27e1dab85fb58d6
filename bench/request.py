"""What runs, trials and measurements are given. Free of torch: the user's process makes it, another one uses it.

`RunRequest` and `MeasureRequest` hold what a user may choose, with its defaults: the command line and a Python caller
fill in the same values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import TypeAdapter, ValidationError

from bench.data.cache import Stored
from bench.errors import RequestError, unknown
from bench.plugins import Model
from bench.protocol import Protocol
from bench.records.identity import Identity, Way, canonical
from bench.records.record import Failure, ModelRecord


@dataclass(frozen=True)
class Place:
    """Where it happens: the results folder, the device (auto, cpu, cuda, mps), and whose plugins are there.

    `plugins` are folders beside the bundled ones, installed ones, `$BENCH_PLUGINS` and the working directory's.

    >>> bench.Place(device="cpu").results.name
    'results'
    """

    results: Path = Path("results")
    device: str = "auto"
    plugins: tuple[Path, ...] = ()
    working_directory: Path = field(default_factory=Path.cwd)


# torch.compile's, its default first.
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")


@dataclass(frozen=True)
class RunOptions:
    """How trials are run, and what is kept of them: nothing that changes what they compute.

    `picture_memory`: the most bytes of main memory for a trial's pictures, and `feature_memory` for a frozen prefix's
    features; None: half of what is free, between the trials that run at once. What does not fit is on the disk. `fit`:
    whether batches that do not fit into the memory are computed in parts. `compile_mode`: torch.compile's. `graphs`:
    whether training steps are replayed as one where the device can. `deterministic`: by kernels that always give
    the same, which are slower. `keep_weights`: whether the trained weights are left beside the record. `timing`:
    whether the finished models are timed side by side at the end. `measure`: what is measured of each trial beside
    what is measured of all, of the measurements that are taken on request. `executor`: the name of where trials run.

    >>> bench.RunOptions(timing=False, picture_memory=4_000_000_000).keep_weights
    True
    """

    frozen_prefix: bool = True
    picture_memory: int | None = None
    feature_memory: int | None = None
    compile: bool = False
    compile_mode: str = COMPILE_MODES[0]
    graphs: bool = True
    deterministic: bool = False
    fit: bool = False
    keep_weights: bool = True
    timing: bool = True
    measure: tuple[str, ...] = ()
    executor: str = "local"

    def record(self) -> dict[str, bool | str | None]:
        """What a record says of them: what changes the times that are shown, or whether a repeat gives the same."""
        return {
            "frozen_prefix": self.frozen_prefix,
            "compile": self.compile,
            "compile_mode": self.compile_mode if self.compile else None,
            "graphs": self.graphs,
            "deterministic": self.deterministic,
        }


@dataclass(frozen=True)
class RunRequest:
    """What to run. Without `protocol`: cifar10 with CUDA, else quick. Without `seeds`: the protocol's.

    `overrides` are texts KEY=VALUE that change a setting, `data` another dataset than the protocol's, `weights` texts
    MODEL=FILE: what the model starts from in place of the weights that bench finds itself. `all_models` adds all that
    the protocol does not leave out. `extensions`: each model is run as it is, and with each of these that fits. `fresh`
    runs again what is recorded; `timeout` is a trial's, in seconds. `until` is a text QUANTITY=WIDTH: each model gets
    further seeds, `max_seeds` in all at most, until the mean is known to within so much. `jobs`: how many trials run at
    once; by default as many as there are devices of that name, one on each, or as the executor has room for. `retries`:
    how often a trial whose process died is tried again; by default twice where the machine that it was on is lost, and
    else not. `ray_address`, `cpus_per_trial` and `gpus_per_trial` are for executors that take them.

    >>> bench.RunRequest(("vit_tiny", "densenet121"), protocol="quick", seeds=(0, 1)).max_seeds
    20
    """

    models: tuple[str, ...] = ()
    all_models: bool = False
    protocol: str | None = None
    overrides: tuple[str, ...] = ()
    data: str | None = None
    seeds: tuple[int, ...] = ()
    until: str | None = None
    max_seeds: int = 20
    weights: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    fresh: bool = False
    timeout: float | None = None
    retries: int | None = None
    jobs: int | None = None
    ray_address: str | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
    options: RunOptions = RunOptions()
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class MeasureRequest:
    """What to measure of which models, and how. Without `batches` of inference, they grow up to the best.

    `image_size` is the side in pixels, `only` names measurements, `rounds` are those of latency's interleaved timing.

    >>> bench.MeasureRequest(("vit_tiny",), image_size=64, only=("macs",)).precision
    'fp32'
    """

    models: tuple[str, ...] = ()
    all_models: bool = False
    image_size: int = 224
    classes: int = 1000
    batches: tuple[int, ...] = ()
    train_batch: int = 8
    only: tuple[str, ...] = ()
    rounds: int = 24
    precision: str = "fp32"
    channels_last: bool = True
    compile: bool = False
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class TimingRequest:
    """Which models to time side by side: folders of their trials, one a model, all of the protocol's `folder`."""

    folder: Path
    trials: tuple[Path, ...]
    place: Place


@dataclass(frozen=True)
class AppliedRequest:
    """Which extensions to apply to which trained models: folders of finished trials with their weights.

    `data` says where the trials' pictures are; by default their protocol's dataset.
    """

    trials: tuple[Path, ...]
    extensions: tuple[str, ...]
    place: Place
    data: str | None = None


@dataclass(frozen=True)
class AfterwardsRequest:
    """Which measurements to take of which trained models: folders of finished trials with their weights; `data` as of
    AppliedRequest."""

    trials: tuple[Path, ...]
    only: tuple[str, ...]
    place: Place
    data: str | None = None


@dataclass(frozen=True)
class CheckRequest:
    """What is to be found right before anything trains: models with their options, under one protocol."""

    models: tuple[str, ...]
    protocol: Protocol
    place: Place
    # The file that the user names for a model.
    weights: Mapping[str, Path] = field(default_factory=dict)
    # The places of the plugins that are needed for it; None: all.
    plugins: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Part:
    """Something that a plugin adds: its kind (model, extension, dataset, measurement), and its name.

    The kind is `plugin` for the whole of one that adds none of these.
    """

    kind: str
    name: str


@dataclass(frozen=True)
class PartRequest:
    """Which part of a plugin is to be held against the contract."""

    part: Part
    place: Place


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
class Checked:
    """A model that can be built: the file of its weights, if any, and which of the protocol's options it has."""

    weights: Weights | None
    options: tuple[str, ...]


@dataclass(frozen=True)
class Devices:
    """What trials would run on: a kind of device, which of them, and how many threads the CPU has for them.

    `environment` is what their records would say of it, `memory` the bytes that one of them has.
    """

    kind: str
    names: tuple[str, ...]
    threads: int
    environment: Mapping[str, Any] = field(default_factory=dict)
    memory: int | None = None


@dataclass(frozen=True)
class Forecast:
    """Of a trial that has not run: a step's peak bytes, the seconds of the whole and of a step; None: not known."""

    peak: int | None
    seconds: float | None
    step: float | None = None


@dataclass(frozen=True)
class Ready:
    """What is found ready for a request: the decoded data, the weights of each model that takes a file's; `counts`: the
    pictures of train, val and test."""

    stored: Stored
    weights: dict[str, Weights]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialSpec:
    """One model (as asked for, with its options), one seed, one protocol; `folder` is where the trial's files go.

    `way` is how it is to run, as far as it changes what is shown; None: not known before it has. `known` is what is
    known of the model where the run was planned, and `counts` the pictures of train, val and test. `fresh`: it goes on
    from no checkpoint. `unmeasured`: what is not to be measured, since it ended the trial's process, and how.
    `plugins`: the places of those that the model needs, the bundled ones aside, and no other's code is run before it is
    trained and tested (None: all there are); `measuring`: of those that measure it then. `jobs`: how many trials the
    machine runs at once. `until`: how narrow the interval of which quantity has to be, where seeds are added for it.
    """

    model: str
    seed: int
    protocol: Protocol
    stored: Stored
    folder: Path
    place: Place
    weights: Weights | None = None
    options: RunOptions = RunOptions()
    way: Way | None = None
    known: ModelRecord | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    fresh: bool = False
    unmeasured: Mapping[str, Failure] = field(default_factory=dict)
    plugins: tuple[str, ...] | None = None
    measuring: tuple[str, ...] = ()
    jobs: int = 1
    until: Mapping[str, float] = field(default_factory=dict)

    @property
    def sharing(self) -> int:
        """How many trials are on its device at once."""
        return self.way.sharing if self.way is not None else 1

    def identity(self, model: Model) -> Identity:
        """What makes it this trial and no other; `model` is what the plugins of now say of its model."""
        return Identity(
            self.model,
            canonical(model.options_under(dict(self.protocol.model.options))),
            model.code,
            self.weights.sha256 if self.weights is not None else None,
            self.seed,
            self.protocol.fingerprint,
            self.stored.fingerprint,
            self.way,
        )

    def checkpoint(self, model: Model, number: int) -> Path:
        """The checkpoint of its try of that number; its name bears which trial it is of, so that no other one goes on
        from it."""
        return self.folder / f"checkpoint-{self.identity(model).digest[:16]}-{number}.pt"


def _settings(overrides: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, str]]:
    """The settings of a dictionary, nested or with dots in its keys, each with its value as TOML has it."""
    for name, value in overrides.items():
        key = f"{section}{name}"
        if isinstance(value, Mapping):
            yield from _settings(value, f"{key}.")
            continue
        try:
            yield key, tomli_w.dumps({"value": value}).partition("=")[2].strip()
        except TypeError:
            raise RequestError(f"overrides: {key} = {value!r} is no value that a protocol can have") from None


Asked = TypeVar("Asked", RunRequest, MeasureRequest)


def request_from(kind: type[Asked], asked: Asked | str | Sequence[str], parameters: Mapping[str, Any]) -> Asked:
    """The request that a Python caller means: a whole one, or names of models and keywords.

    The keyword `device="cpu"` stands for `place=Place(device="cpu")`; lists and texts will do for tuples and paths, and
    a dictionary for `overrides`.
    Raises RequestError for an unknown keyword and for a wrong value.
    """
    if isinstance(asked, kind):
        if parameters:
            raise RequestError(f"{', '.join(parameters)}: say it in the {kind.__name__}, or name models in its place")
        return asked
    # The fields that hold further parameters, and the field that each parameter belongs to.
    groups: dict[str, type] = {"options": RunOptions, "place": Place}
    home = {one.name: "" for one in fields(kind) if one.name not in groups}
    for one in fields(kind):
        if one.name in groups:
            home |= {inner.name: one.name for inner in fields(groups[one.name])}
    document: dict[str, Any] = {"models": [asked] if isinstance(asked, str) else asked}
    for name, value in parameters.items():
        if name == "overrides" and isinstance(value, Mapping):
            value = [f"{key}={text}" for key, text in _settings(value)]
        if name not in home:
            raise unknown("parameter", name, home, f"help(bench.{kind.__name__})")
        (document.setdefault(home[name], {}) if home[name] else document)[name] = value
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        problem = error.errors()[0]
        raise RequestError(f"{'.'.join(map(str, problem['loc'][-1:]))}: {problem['msg']}") from None

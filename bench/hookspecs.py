"""The whole plugin contract on one page, however long: the hooks, and the values that pass through them.

A plugin is a Python file (or an installed package with an entry point in the group `bench`) with
functions marked `@hookimpl` that are named as below. It imports torch and timm inside `build` and
`load`, so that listing what exists stays instant.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pluggy

from bench.records.evidence import Claim as Claim

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from bench import protocol as protocols
    from bench.device import Device
    from bench.events import Event, Tell
    from bench.records.quantities import Quantity

# What `build` and `apply` are always given; their other keyword parameters are options of the model, the extension.
GIVEN = ("num_classes", "image_size", "pretrained")

hookspec = pluggy.HookspecMarker("bench")
hookimpl = pluggy.HookimplMarker("bench")


@hookspec
def bench_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """The models that this plugin adds."""


@hookspec
def bench_extensions() -> Iterable[ExtensionSpec]:  # type: ignore[empty-body]
    """The extensions that this plugin adds: what changes a built model of another plugin."""


@hookspec
def bench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """The datasets that this plugin adds."""


@hookspec
def bench_measurements() -> Iterable[MeasureSpec]:  # type: ignore[empty-body]
    """What this plugin measures of a model, in `run` as in `measure`."""


@hookspec
def bench_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """The executors that this plugin adds: where `run --executor NAME` has its trials run."""


@hookspec
def bench_event(event: Event) -> None:
    """Progress, told in the process that the user started: see bench/events.py."""


@hookspec
def bench_claims() -> Iterable[Claim]:  # type: ignore[empty-body]
    """Published claims about the plugin's models, which `report` holds against what was run."""


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be trained: its name, and how to build its backbone.

    `build(*, num_classes, image_size, pretrained, ...)` returns the backbone, a module from images
    (N, 3, S, S) to features (N, D); the protocol supplies the head. Further keyword parameters with
    defaults are the model's options (`NAME:patch_size=4`). It raises RequestError for a
    combination that the model cannot be built with.

    `last_block` names the first module that trains under last-block fine-tuning.

    A backbone with a method `training_loss() -> Tensor | None` adds that term, of its latest forward pass, to
    the loss while training. Modules that only this term needs are named in its attribute `training_only`, a
    tuple of strings: they are no part of the model's parameters nor of the memory that inference takes, and a
    file of weights may have them or not.

    `new_layers` are names of modules, or patterns of such (`blocks.downsampling_*`), for which no pretrained
    weights exist: layers that the plugin adds to a known model. Wherever they stand, they train whatever the
    protocol freezes, under `last-block` and `head` alike, since they would stay random; the frozen layers
    behind them pass gradients on and stay as they are. Weights from a file may do without them.

    `packaged_weights` is `DISTRIBUTION:PATH`, a file of pretrained weights that comes in a Python package;
    where that is installed, it is taken in place of what timm would download.

    `split(backbone)` gives the two halves at `last_block`, modules that share the backbone's layers:
    one from images to a tensor (N, …) or a tuple of such, one from those to the features (N, D). It is
    wanted only where bench does not find the halves itself: see bench/train/prefix/halves.py.

    A backbone with an attribute `resolved_options`, a dict of JSON values, has it recorded: what it made of
    options that leave something open, such as a patch size that follows from the image size.

    >>> def build(*, num_classes, image_size, pretrained, width=32): ...
    >>> bench.ModelSpec("mine", build, family="cnn").options()
    {'width': 32}
    """

    name: str
    build: Callable[..., nn.Module]
    family: str
    last_block: str | None = None
    source: str = ""
    packaged_weights: str = ""
    split: Callable[[nn.Module], tuple[nn.Module, nn.Module]] | None = None
    new_layers: tuple[str, ...] = ()

    def options(self) -> dict[str, Any]:
        """The options that `build` names, with their defaults."""
        return _options_of(self.build)

    def takes_any_option(self) -> bool:
        """Whether `build` ends in `**options`, and so judges options itself."""
        return _takes_any(self.build)


def _always_fits(backbone: nn.Module) -> str:
    return ""


@dataclass(frozen=True)
class ExtensionSpec:
    """An extension, such as a technique for efficiency: its name, and how it changes a model of another plugin.

    `apply(backbone, *, image_size, ...)` is given a model as it was built, pretrained weights in place, and returns
    it changed: still from images (N, 3, S, S) to features (N, D), of the same D. Parameters and buffers that were there
    keep their names and shapes. What it adds has no pretrained weights, and trains whatever the protocol freezes.
    Further keyword parameters with defaults are the extension's options (`MODEL+NAME:tokens=4`). It raises RequestError
    for what it cannot be applied with, such as a grid of patches that is too small.

    `fits(backbone)` says in one line why that model cannot be changed (`DenseNet has no sequence of blocks`); an empty
    text, or None, where it can. `changes` says in a few words which models those are, for the list.

    What it made of options that leave something open it puts into the backbone's attribute `resolved_options`, as a
    model does; bench keeps those of model and extensions apart.

    >>> def apply(backbone, *, image_size, keep=0.5): ...
    >>> bench.ExtensionSpec("mine", apply, changes="transformers").options()
    {'keep': 0.5}
    """

    name: str
    apply: Callable[..., nn.Module]
    fits: Callable[[nn.Module], str | None] = _always_fits
    changes: str = "any model"
    source: str = ""

    def options(self) -> dict[str, Any]:
        """The options that `apply` names, with their defaults."""
        return _options_of(self.apply)

    def takes_any_option(self) -> bool:
        """Whether `apply` ends in `**options`, and so judges options itself."""
        return _takes_any(self.apply)


def _options_of(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    own = (p for p in parameters if p.default is not inspect.Parameter.empty and p.name not in GIVEN)
    return {p.name: p.default for p in own}


def _takes_any(function: Callable[..., Any]) -> bool:
    return inspect.Parameter.VAR_KEYWORD in (p.kind for p in inspect.signature(function).parameters.values())


@dataclass(frozen=True)
class Split:
    """Pictures and their classes: `pictures[i]` is an array (H, W, 3) of uint8, `labels[i]` its class.

    An array (N, H, W, 3) will do; so will any sequence that decodes when asked (from several threads).
    All pictures of a dataset have one size.

    >>> import numpy
    >>> len(bench.Split(numpy.zeros((4, 32, 32, 3), dtype=numpy.uint8), [0, 1, 0, 1]).labels)
    4
    """

    pictures: Sequence[np.ndarray] | np.ndarray
    labels: Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Pictures:
    """A dataset's content. Without `val`, the protocol takes validation pictures out of `train`.

    >>> import numpy
    >>> few = bench.Split(numpy.zeros((2, 32, 32, 3), dtype=numpy.uint8), [0, 1])
    >>> bench.Pictures(("cat", "dog"), train=few, test=few).val is None
    True
    """

    classes: Sequence[str]
    train: Split
    test: Split
    val: Split | None = None


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset: its name, and how to get its pictures.

    `load(*, location, image_size, cache)` returns Pictures. `location` is what the user wrote after
    the colon (`folder:DIR`), else empty; `image_size` is the side in pixels at which pictures of
    mixed sizes should come; `cache` is a folder for downloads. It raises RequestError where the
    pictures cannot be had.

    A `load`, and a `key`, with a parameter `resize` is given the protocol's `data.resize`: "crop" where the aspect of a
    picture is to be kept, "stretch" where it is not. Pictures that come in another shape than a square of the image
    size are brought to that later, in the same way.

    `key(location, image_size)` names the content without decoding it, so that what was decoded once
    is found again; without `key`, `load` is called at every run.

    >>> def load(*, location, image_size, cache): ...
    >>> bench.DatasetSpec("mine", load, source="drawn at random", key=lambda location, image_size: "1").name
    'mine'
    """

    name: str
    load: Callable[..., Pictures]
    source: str = ""
    key: Callable[[str, int], str] | None = None


@dataclass(frozen=True)
class MeasureSpec:
    """A measurement: its name, how a model is measured, and the quantities that are found in what it gives.

    `measure(subject)` gives any JSON value without NaN; None where there is nothing to measure, such as the accuracy of
    a model that was not trained. It is recorded as `plugins.NAME`; where it raises, `{"error": …}` is, and the other
    measurements go on. What the bundled ones without quantities of their own give (`plugins/measurements.py`) are keys
    of the record's `efficiency`, and their quantities the rows of bench/records/quantities.py.

    `quantities` make columns, axes and limits out of the value: each one's `path` leads from the value to its number.
    Whatever is not None has to have it, of a model that is not trained (`subject.trained` is None), too.

    Where `together`, models are measured in turns, so that a slow minute of the machine hits all alike:
    `measure(subjects)` is given several, and gives a value for each, in their order.

    `timed(subject)` gives what is to be timed, a callable without parameters, and how many pictures one call goes
    through. A timing session times it for all models of a comparison, in turns: the series NAME of
    bench/records/sessions.py, which a quantity with `series=NAME` shows.

    `alone`: it is not taken of a trial that shares its device with others, whose work it would measure, too: where it
    is time or energy. What is `timed` is so anyway.

    `on_request`: it is taken only where it is asked for by name (`run --measure NAME`, `measure --only NAME`).

    >>> layers = bench.MeasureSpec("layers", lambda subject: sum(1 for _ in subject.model.modules()))
    >>> layers.together
    False
    """

    name: str
    measure: Callable[[Any], Any]
    quantities: tuple[Quantity, ...] = ()
    together: bool = False
    timed: Callable[[Subject], tuple[Callable[[], object], int]] | None = None
    alone: bool = False
    on_request: bool = False

    def is_wanted(self, asked: Collection[str]) -> bool:
        """Whether it is taken where those are asked for by name."""
        return not self.on_request or self.name in asked


class Subject(Protocol):
    """What is measured: a model as a trial has trained it, or, under `measure`, with random weights.

    `model` and `shape` are every measurement's: whoever wants to change one copies it before.
    """

    @property
    def name(self) -> str:
        """As the user would type it, options included."""

    @property
    def model(self) -> nn.Module:
        """From images (N, 3, S, S; float32, normalised) on the device to logits (N, classes), in evaluation mode."""

    @property
    def shape(self) -> nn.Module:
        """The same, maybe without its weights (on torch's device `meta`): all that counting needs."""

    @property
    def image_size(self) -> int:
        """The side S of an image in pixels."""

    @property
    def device(self) -> Device:
        """Where the model is; it knows how to wait for what was started, and how to count memory."""

    @property
    def precision(self) -> str:
        """Of training and inference: fp32, tf32, bf16 or fp16."""

    @property
    def brief(self) -> bool:
        """Whether a trial waits for the answer; else there is time for many repetitions."""

    @property
    def rounds(self) -> int:
        """How many rounds of timing are wanted where models take turns."""

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes of inference; empty: whichever suit the quantity."""

    @property
    def folder(self) -> Path:
        """Where files such as traces go, beside the record."""

    @property
    def training(self) -> Training:
        """A training step, on a copy of the model: it takes nothing from `model`."""

    @property
    def trained(self) -> Trained | None:
        """What is known of the trial; None where nothing was trained."""

    def inference(self, batch: int) -> Callable[[], Tensor]:
        """A forward pass of `batch` images (random, made once), and nothing else, as the options say."""

    def graph(self, batch: int) -> Callable[[], object]:
        """The same pass with its launches replayed as one; only where `device.has_graphs`, else it raises."""

    @property
    def inference_bytes(self) -> int:
        """Bytes of the parameters and buffers of what `inference` runs: it may hold them in another precision."""

    def inference_options(self) -> dict[str, Any]:
        """How `inference` computes: `precision`, `casting`, `channels_last`, `compile`; to be recorded with a time."""


class Training(Protocol):
    """A model that trains, step by step."""

    @property
    def model(self) -> nn.Module:
        """It changes with every step."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of what trains of it."""

    def batch(self) -> tuple[Tensor, Tensor]:
        """The next images (B, 3, S, S) and classes (B), on the device and normalised, fetched as training does."""

    def step(self, images: Tensor, labels: Tensor) -> object:
        """Forward, backward, optimizer; gradients are set to None at the start."""

    def graph(self) -> Callable[[], object]:
        """A step on the next batch, forward and backward replayed as one; only where `device.has_graphs`.

        Raises, with the reason, where the model cannot be one.
        """


class Evaluation(Protocol):
    """The test pictures, classified: mean cross-entropy, top-1 (0..1), probabilities (N, classes), classes (N)."""

    @property
    def loss(self) -> float: ...

    @property
    def top1(self) -> float: ...

    @property
    def probabilities(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...


@dataclass(frozen=True)
class Trained:
    """A trial as far as it has come: `test()` goes through the test pictures, in batches like `Training.batch`'s.

    They are normalised by `mean` and `std`, of each channel of pictures in 0..1.
    """

    seed: int
    protocol: protocols.Protocol
    evaluation: Evaluation
    test: Callable[[], Iterator[tuple[Tensor, Tensor]]]
    mean: tuple[float, ...]
    std: tuple[float, ...]


# Where work is done

T = TypeVar("T")


class DiedError(Exception):
    """Work ended without an answer: its process was killed, or crashed. The text says how."""


class LostError(DiedError):
    """Work ended without an answer because where it was done is gone: a machine, or its line to us."""


class TimedOutError(Exception):
    """Work was stopped because it took too long."""


class Executor(Protocol):
    """Does work somewhere else than in the process that the user started.

    `run(work)` calls `work(emit)` there. It gives the events that are emitted, as they come, and returns the answer;
    where nothing happens it gives None, every second or oftener: whoever follows may want to stop.
    `work` can be pickled: a module's function, or functools.partial of one with values. It is called in the working
    directory of the caller; what it prints goes to the file `log`, else nowhere.

    Raises the RequestError that the work raises; DiedError where it ends in any other way without an answer, and of
    these LostError where a machine is gone; TimedOutError where it takes longer than `timeout` seconds. Closing the
    generator, or an interrupt in it, stops the work. Several may be under way at once, each followed by a thread of its
    own. What becomes of a trial that fails is not the executor's to say: see bench/run/executors/policy.py.

    It may have an attribute `room`, a Room: where it has none, this machine's devices say how many trials run at once.
    It may have a method `close()`, which is called when nothing more is to be done.
    """

    def run(
        self, work: Callable[[Tell], T], *, log: Path | None = None, timeout: float | None = None
    ) -> Generator[Event | None, None, T]: ...


@dataclass(frozen=True)
class Room:
    """So many trials run at once, so many of them on one device, each with so many threads of a CPU."""

    trials: int
    sharing: int = 1
    threads: int = 1


@dataclass(frozen=True)
class ExecutorSpec:
    """A place where trials can be run: its name, and how to reach it.

    `start` imports what it needs, and raises RequestError where it cannot be reached. Its keyword parameters are those
    options of a run that it takes, of `ray_address`, `cpus_per_trial` and `gpus_per_trial`; those that were not chosen
    are not given.

    >>> from bench.run.executors.local import Local
    >>> bench.ExecutorSpec("here", Local, source="this machine").name
    'here'
    """

    name: str
    start: Callable[..., Executor]
    source: str = ""

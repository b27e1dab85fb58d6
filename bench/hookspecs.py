"""The whole plugin contract on one page: six hooks, and the values that pass through them.

A plugin is a Python file (or an installed package with an entry point in the group `bench`) with
functions marked `@hookimpl` that are named as below. It imports torch and timm inside `build` and
`load`, so that listing what exists stays instant.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pluggy

from bench.records.evidence import Claim as Claim

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from bench.events import Event, Tell
    from bench.run.trial import TrainedModel

# What `build` is always given; its other keyword parameters are the model's options.
GIVEN = {"num_classes", "image_size", "pretrained"}

hookspec = pluggy.HookspecMarker("bench")
hookimpl = pluggy.HookimplMarker("bench")


@hookspec
def bench_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """The models that this plugin adds."""


@hookspec
def bench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """The datasets that this plugin adds."""


@hookspec
def bench_measure(trial: TrainedModel) -> dict[str, Any] | None:
    """Extra quantities of a trained model, JSON-serialisable; stored under the plugin's name."""


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
        parameters = inspect.signature(self.build).parameters.values()
        own = (p for p in parameters if p.default is not inspect.Parameter.empty and p.name not in GIVEN)
        return {p.name: p.default for p in own}

    def takes_any_option(self) -> bool:
        """Whether `build` ends in `**options`, and so judges options itself."""
        kinds = (p.kind for p in inspect.signature(self.build).parameters.values())
        return inspect.Parameter.VAR_KEYWORD in kinds


@dataclass(frozen=True)
class Split:
    """Pictures and their classes: `pictures[i]` is an array (H, W, 3) of uint8, `labels[i]` its class.

    An array (N, H, W, 3) will do; so will any sequence that decodes when asked (from several threads).
    All pictures of a dataset have one size.
    """

    pictures: Sequence[np.ndarray] | np.ndarray
    labels: Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Pictures:
    """A dataset's content. Without `val`, the protocol takes validation pictures out of `train`."""

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

    `key(location, image_size)` names the content without decoding it, so that what was decoded once
    is found again; without `key`, `load` is called at every run.
    """

    name: str
    load: Callable[..., Pictures]
    source: str = ""
    key: Callable[[str, int], str] | None = None


# Where work is done

T = TypeVar("T")


@hookspec
def bench_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """The executors that this plugin adds: where `run --executor NAME` has its trials run."""


class DiedError(Exception):
    """Work ended without an answer: its process was killed, or crashed. The text says how."""


class TimedOutError(Exception):
    """Work was stopped because it took too long."""


class Executor(Protocol):
    """Does work somewhere else than in the process that the user started.

    `run(work)` calls `work(emit)` there. It gives the events that are emitted, as they come, and returns the answer.
    `work` can be pickled: a module's function, or functools.partial of one with values. It is called in the working
    directory of the caller; what it prints goes to the file `log`, else nowhere.

    Raises the RequestError that the work raises; DiedError where it ends in any other way without an answer;
    TimedOutError where it takes longer than `timeout` seconds. Closing the generator, or an interrupt in it, stops the
    work. Several may be under way at once, each followed by a thread of its own. What becomes of a trial that
    fails is not the executor's to say: see bench/run/executors/__init__.py.
    """

    def run(
        self, work: Callable[[Tell], T], *, log: Path | None = None, timeout: float | None = None
    ) -> Generator[Event, None, T]: ...


@dataclass(frozen=True)
class ExecutorSpec:
    """A place where trials can be run: its name, and how to reach it (`start` imports what it needs)."""

    name: str
    start: Callable[[], Executor]
    source: str = ""

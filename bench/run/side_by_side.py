"""A timing session over trained models: built again from what was kept, timed in turns, written beside their records.

Times do not depend on what the weights are: a model whose weights were not kept is timed with random ones, and the
session says so. One whose plugin builds other parameters by now is another model, and is left out; where only the code
of the plugin has changed, the session says so, as `load_model` does.
"""

from __future__ import annotations

import gc
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from bench.device import Device, choose_device, memory_share, out_of_memory
from bench.errors import RequestError
from bench.events import Event, Note, TimingTogether
from bench.files import write_text
from bench.hookspecs import Subject
from bench.measure.clock import quiet_cores
from bench.measure.environment import environment
from bench.measure.subject import InferenceOptions
from bench.measure.together import BLOCKS, WIDTH, Taken, time_together
from bench.models.classifier import Classifier, build_classifier
from bench.models.compiling import compiled_if
from bench.models.freezing import freeze
from bench.models.kept import DESCRIPTION, load_model, read_description
from bench.models.parts import parameter_counts
from bench.plugins import Registry, load_plugins
from bench.protocol import Protocol
from bench.records.comparison import Trial, read_trial
from bench.records.identity import Way, way_of
from bench.records.sessions import Series, Session, TimedModel, longest, next_file
from bench.request import TimingRequest
from bench.run.prepare import PreparedSubject, prepare_device
from bench.run.untrained import random_batches
from bench.train.loop import Trainer, make_trainer

# A model that trains holds its weights, their gradients and Adam's two means; two more copies infer.
COPIES = 6

T = TypeVar("T")


@dataclass
class _Entrant:
    """A model that is timed, ready to be, and what is entered of it."""

    subject: PreparedSubject
    timed: TimedModel


def time_models(request: TimingRequest, emit: Callable[[Event], None]) -> list[Path]:
    """Time the models of these trials together, and write the session; its file, or several where memory is short.

    Each further session begins with the first model again. Raises RequestError where the trials ran on another kind of
    device than this one.
    """
    registry = load_plugins(request.place.plugins, request.place.working_directory)
    trials = [read_trial(folder) for folder in request.trials]
    way = way_of(trials[0].record)
    if way is not None and way.device != choose_device(request.place.device).kind:
        raise RequestError(f"{request.folder}: was run on {way.device}: name it by --device to time it there")
    deterministic = way is not None and way.deterministic
    wanted = _protocol(trials[0]).train.precision
    device, precision = prepare_device(request.place.device, wanted, deterministic=deterministic)
    sizes = [4 * COPIES * (trial.record.model.params or 0) for trial in trials]
    files = []
    for group in grouped(trials, sizes, device.has_room if device.is_accelerator else _fits_in_main_memory):
        session = _session(group, registry, request, device, precision, emit)
        if session is not None:
            files.append(next_file(request.folder))
            write_text(files[-1], json.dumps(session.model_dump(mode="json", by_alias=True), indent=1) + "\n")
        gc.collect()
        device.release_memory()
    return files


def grouped(things: Sequence[T], sizes: Sequence[int], fits: Callable[[int], bool]) -> Iterator[list[T]]:
    """The things in as few groups as fit, in their order; the first is in each of them, to be compared with."""
    group, held = list(things[:1]), sum(sizes[:1])
    for thing, size in zip(things[1:], sizes[1:], strict=True):
        if len(group) > 1 and not fits(held + size):
            yield group
            group, held = list(things[:1]), sizes[0]
        group.append(thing)
        held += size
    if group:
        yield group


def _fits_in_main_memory(size: int) -> bool:
    return size < memory_share()


def _session(
    trials: Sequence[Trial],
    registry: Registry,
    request: TimingRequest,
    device: Device,
    precision: str,
    emit: Callable[[Event], None],
) -> Session | None:
    """None where no model of these can be timed."""
    record = trials[0].record
    protocol = _protocol(trials[0])
    entrants = []
    for trial in trials:
        name = trial.record.model.name
        try:
            entrants.append(_entrant(trial, protocol, registry, request, device, precision))
        except Exception as error:  # another one's model must not cost the session
            traceback.print_exc()
            emit(Note(f"{name} is not timed: {error}"))
    if not entrants:
        return None
    threads = None if device.is_accelerator else torch.get_num_threads()
    session = Session(
        protocol=record.protocol.fingerprint,
        data=record.data.fingerprint,
        way=replace(way_of(record) or Way(device.kind, None), threads=threads, sharing=1),
        environment=environment(device, precision=precision),
        settings={
            "width": WIDTH,
            "blocks": BLOCKS,
            "most_seconds": longest(len(entrants)),
            "batch": _batch(trials[0], protocol),
            **entrants[0].subject.inference_options(),
        },
        quiet_cores=quiet_cores(),
        others={},
        models=[entrant.timed for entrant in entrants],
    )
    series = {spec.name: spec.timed for spec, _ in registry.measurements.values() if spec.timed is not None}
    for number, (name, timed) in enumerate(series.items()):
        told = partial(_tell, emit, TimingTogether(name, len(entrants), number, len(series), 0.0))
        taken = _series(name, timed, entrants, device, told)
        if taken is not None:
            session.others[name] = taken.others
    return session


def _tell(emit: Callable[[Event], None], event: TimingTogether, share: float) -> None:
    emit(replace(event, share=share))


def _series(
    name: str,
    timed: Callable[[Subject], tuple[Callable[[], object], int]],
    entrants: Sequence[_Entrant],
    device: Device,
    told: Callable[[float], None],
) -> Taken | None:
    """Time the entrants, and enter each one's rounds; None where none can be timed. `told`: of the share done."""
    told(0.0)
    runs, images = {}, {}
    for entrant in entrants:
        key = entrant.timed.name
        try:
            runs[key], images[key] = timed(entrant.subject)
            runs[key]()
        except Exception as error:  # a stranger's model, or too large a one
            traceback.print_exc()
            runs.pop(key, None)
            entrant.timed.errors[name] = "out of memory" if out_of_memory(error) else f"{type(error).__name__}: {error}"
            device.release_memory()
    taken = time_together(runs, device, told=told) if runs else None
    told(1.0)
    for entrant in entrants:
        key = entrant.timed.name
        if taken is not None and key in runs:
            entrant.timed.series[name] = Series(images=images[key], rounds=taken.rounds[key])
        entrant.subject.forget_training()
    return taken


def _entrant(
    trial: Trial, protocol: Protocol, registry: Registry, request: TimingRequest, device: Device, precision: str
) -> _Entrant:
    record = trial.record
    asked = registry.model(record.model.name)
    model, weights = _built(trial, protocol, registry, request)
    params, _ = parameter_counts(model)
    if params != record.model.params:
        raise RequestError(f"its plugin builds another model by now, of {params:,} parameters")
    freeze(model, protocol.train.what, asked.last_block, asked.name)
    batch, size = _batch(trial, protocol), protocol.data.image_size
    torch.manual_seed(record.seed)
    way = way_of(record) or Way(device.kind, None)

    def make(copied: Classifier) -> Trainer:
        forward = compiled_if(way.compiled, copied, way.compile_mode)
        return make_trainer(copied, protocol, record.data.train // batch, precision, device, forward)

    subject = PreparedSubject(
        name=record.model.name,
        shape=model,
        make_model=lambda: device.place(model),
        make_trainer=make,
        fetch=random_batches(batch, size, len(record.data.classes), device),
        image_size=size,
        device=device,
        options=InferenceOptions(precision, compile=way.compiled, compile_mode=way.compile_mode),
        brief=False,
        rounds=0,
        batches=(batch,),
        folder=trial.folder,
    )
    now = asked.code if asked.code != record.model.code else None
    return _Entrant(subject, TimedModel(name=record.model.name, code=record.model.code, code_now=now, weights=weights))


def _built(
    trial: Trial, protocol: Protocol, registry: Registry, request: TimingRequest
) -> tuple[Classifier, str | None]:
    """The model with its kept weights and their SHA-256, else with random ones."""
    if (trial.folder / DESCRIPTION).exists():
        return load_model(trial.folder, request.place.plugins), read_description(trial.folder).sha256
    scratch = protocol.model_copy(update={"model": protocol.model.model_copy(update={"weights": "scratch"})})
    return build_classifier(registry.model(trial.record.model.name), scratch, len(trial.record.data.classes)), None


def _protocol(trial: Trial) -> Protocol:
    recorded = trial.record.protocol
    return Protocol.model_validate({"name": recorded.name, **recorded.settings})


def _batch(trial: Trial, protocol: Protocol) -> int:
    return min(protocol.train.batch_size, trial.record.data.train)

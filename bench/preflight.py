"""Everything that can be found wrong with a request before anything trains, and the decoding of its data.

It runs in a process of its own (see executors/local.py), so that the one that the user started
need not import torch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.data import Stored, prepare, split
from bench.device import choose_device
from bench.errors import RequestError
from bench.events import Checking, DataProgress, Event, Note
from bench.model import build_classifier
from bench.plugins import load_plugins
from bench.spec import Request
from bench.transfer import freeze
from bench.trial import last_block


def default_protocol(device: str, emit: Callable[[Event], None]) -> str:
    """The protocol for a run that names none: `cifar10` where CUDA is, else `quick`."""
    return "cifar10" if choose_device(device).kind == "cuda" else "quick"


def check(request: Request, emit: Callable[[Event], None]) -> Stored:
    """Decode the data, or find it decoded, and build every model without its weights.

    Raises RequestError for what the user has to change. A model that fails in another way is left to
    its trial, whose record will say so.
    """
    choose_device(request.device)
    registry = load_plugins(request.plugin_folders, request.working_directory)
    protocol = request.protocol
    # Nothing is downloaded and no memory is taken: a model on the device `meta` has shapes only.
    weightless = protocol.model_copy(update={"model": protocol.model.model_copy(update={"weights": "scratch"})})
    for name in request.models:
        model = registry.model(name)
        emit(Checking(name))
        try:
            with torch.device("meta"):
                classifier = build_classifier(model, weightless, classes=2)
            freeze(classifier, protocol.train.what, last_block(model), model.name)
        except RequestError:
            raise
        except Exception as error:
            emit(Note(f"{name} will probably fail: {type(error).__name__}: {error}".partition("\n")[0]))
    emit(Checking(None))
    dataset, location = registry.dataset(protocol.data.dataset)
    try:
        stored = prepare(
            dataset,
            location,
            protocol.data.image_size,
            lambda done, total: emit(DataProgress(protocol.data.dataset, done, total)),
        )
    except RequestError:
        raise
    except Exception as error:  # a stranger's dataset may raise anything
        raise RequestError(f"dataset {protocol.data.dataset}: {type(error).__name__}: {error}") from error
    subsets = split(
        stored, protocol.data.validation, protocol.data.split_seed, protocol.train.limit, protocol.data.test_limit
    )
    if len(subsets["train"].indices) < 2:
        raise RequestError(f"dataset {stored.name}: {len(subsets['train'].indices)} picture is left to train on")
    return stored

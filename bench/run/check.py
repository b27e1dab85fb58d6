"""Everything that can be found wrong with a request before anything trains, and the decoding of its data.

It runs in a process of its own (see executors/work.py), so that the one that the user started
need not import torch.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Any

import torch

from bench.data.cache import prepare
from bench.data.splits import subsets
from bench.device import every_device
from bench.errors import RequestError, UnfitError
from bench.events import Checking, Note, Tell
from bench.guard import is_the_users
from bench.measure.environment import environment
from bench.models.classifier import build_classifier, build_weightless
from bench.models.extensions import resolved_options
from bench.models.freezing import freeze
from bench.models.parts import layers
from bench.models.weights.find import find_weights
from bench.plugins import load_plugins
from bench.request import Checked, CheckRequest, Devices, Ready
from bench.run.prepare import prepare_device
from bench.train.optimizer import check_class_weights

# Seconds after which the user is told which model it is that takes so long.
LONG = 10.0


def check_models(request: CheckRequest, emit: Tell) -> dict[str, Checked]:
    """Build every model, and find the weights that it is to start from, and which of the protocol's options it has.

    Raises RequestError for what the user has to change. A model that fails in another way is left to
    its trial, whose record will say so.
    """
    registry = load_plugins(request.place.plugins, request.place.working_directory, only=request.plugins)
    protocol = request.protocol
    pretrained = protocol.model.weights == "pretrained"
    if request.weights and not pretrained:
        raise RequestError("weights are named, but the protocol trains from scratch; set model.weights=pretrained")
    checked: dict[str, Checked] = {}
    for name in request.models:
        emit(Checking(name))
        slow = threading.Timer(LONG, lambda text: emit(Note(text)), [f"{name}: still checking whether it can be built"])
        slow.daemon = True
        slow.start()
        try:
            model = registry.model(name)
            classifier = build_weightless(model, protocol, classes=2)
            freeze(classifier, protocol.train.what, model.last_block, model.name)
            found = None
            if pretrained:
                found = find_weights(
                    model, classifier.backbone, request.weights.get(name), lambda text: emit(Note(text))
                )
                if found is not None:
                    with torch.device("meta"):
                        build_classifier(model, protocol, 2, found)
            asked = dict(protocol.model.options)
            has = model.options_under(asked) | resolved_options(classifier.backbone)
            checked[name] = Checked(found, tuple(key for key in asked if key in has))
        except RequestError:
            raise
        except BaseException as error:  # a stranger's code may raise anything
            if is_the_users(error):
                raise
            emit(Note(f"{name} will probably fail: {type(error).__name__}: {error}".partition("\n")[0]))
        finally:
            slow.cancel()
    return checked


def find_unfit(request: CheckRequest, emit: Tell) -> dict[str, str]:
    """Why an extension of it does not fit, of each of the models whose do not.

    Raises RequestError where an extension fails in another way. Models that fail are left to `check_models`.
    """
    registry = load_plugins(request.place.plugins, request.place.working_directory, only=request.plugins)
    unfit = {}
    for name in request.models:
        emit(Checking(name))
        try:
            build_weightless(registry.model(name), request.protocol, classes=2)
        except UnfitError as error:
            unfit[name] = str(error).removeprefix(f"{name}: ")
        except RequestError:
            raise
        except BaseException as error:  # a stranger's code may raise anything
            if is_the_users(error):
                raise
    return unfit


def prepare_data(request: CheckRequest, emit: Tell) -> Ready:
    """Decode the data, or find it decoded; RequestError for what the user has to change."""
    registry = load_plugins(request.place.plugins, request.place.working_directory, only=request.plugins)
    protocol = request.protocol
    dataset, location = registry.dataset(protocol.data.dataset)
    emit(Checking(None))
    try:
        stored = prepare(dataset, location, protocol.data.image_size, emit, protocol.data.resize)
    except RequestError:
        raise
    except Exception as error:  # a stranger's dataset may raise anything
        raise RequestError(f"dataset {protocol.data.dataset}: {type(error).__name__}: {error}") from error
    check_class_weights(protocol, stored.classes)
    if len(stored.classes) < 2 and (protocol.augmentation.mixup or protocol.augmentation.cutmix):
        raise RequestError(f"augmentation.mixup, cutmix: dataset {stored.name} has one class, there is nothing to mix")
    counts = {part: len(subset.indices) for part, subset in subsets(stored, protocol).items()}
    if counts["train"] < 2:
        raise RequestError(f"dataset {stored.name}: {counts['train']} picture is left to train on")
    return Ready(stored, {}, counts)


def find_devices(name: str, precision: str) -> Devices:
    """What trials on the device of that name would run on; RequestError where they could not, in that precision."""
    device, computed = prepare_device(name, precision)
    there, memory = environment(device, computed), device.total_memory
    return Devices(device.kind, every_device(name), torch.get_num_threads(), there, memory)


def trainable_layers(request: CheckRequest, classes: int) -> list[dict[str, Any]]:
    """Name, kind and parameters of each layer of the request's one model, and whether the protocol trains it.

    As plain values: a process without torch reads them.
    """
    (name,) = request.models
    model = load_plugins(request.place.plugins, request.place.working_directory).model(name)
    classifier = build_weightless(model, request.protocol, classes)
    freeze(classifier, request.protocol.train.what, model.last_block, model.name)
    return [asdict(layer) for layer in layers(classifier)]

"""Which trials a request means. Nothing here reads or writes a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import RequestError
from bench.files import trial_folder
from bench.plugins import Extension, Model, Registry
from bench.protocol import Protocol, unequal
from bench.records.model_names import PLUS
from bench.request import Checked, Devices, Ready, RunRequest, TrialSpec
from bench.run.outline import known_of
from bench.run.seeds import Enough
from bench.run.slots import Slots, way


def models_asked(request: RunRequest, registry: Registry, protocol: Protocol) -> tuple[list[Model], list[str]]:
    """The models asked for, each once, in the order of asking; and a line for each that the protocol leaves out.

    Raises RequestError for an unknown name.
    """
    asked = {model.name: model for model in map(registry.model, request.models)}
    left_out = []
    for name in registry.models if request.all_models else ():
        why = protocol.why_excluded(name)
        if why is None:
            asked.setdefault(name, registry.model(name))
        elif name not in asked:
            left_out.append(f"left out: {name} ({why}); name it to run it all the same")
    return list(asked.values()), left_out


def extended(models: Sequence[Model], extensions: Sequence[Extension], registry: Registry) -> list[Model]:
    """Each model with each of the extensions that it has not yet."""
    return [
        registry.model(f"{model.name}+{extension.name}")
        for model in models
        for extension in extensions
        if extension.spec.name not in {one.spec.name for one in model.extensions}
    ]


def with_extended(
    models: Sequence[Model], candidates: Sequence[Model], unfit: Mapping[str, str]
) -> tuple[list[Model], list[str]]:
    """The models, each followed by those extended ones that fit; and a line for each extension that some do not.

    Raises RequestError for an extension that fits none.
    """
    left_out: dict[str, list[str]] = {}
    for candidate in candidates:
        if why := unfit.get(candidate.name):
            extension = candidate.extensions[-1]
            reason = why.removeprefix(f"{extension.spec.name}: ")
            base = candidate.name.removesuffix(f"+{extension.name}")
            left_out.setdefault(extension.name, []).append(f"{base} ({reason})")
    for name, reasons in left_out.items():
        if len(reasons) == sum(one.extensions[-1].name == name for one in candidates):
            raise RequestError(f"extension {name} fits no model that is run: {'; '.join(reasons)}")
    fitting = [one for one in candidates if one.name not in unfit]
    found = {}
    for model in models:
        found[model.name] = model
        found |= {one.name: one for one in fitting if one.name.startswith(f"{model.name}+")}
    lines = [f"left out: {name} does not fit {'; '.join(reasons)}" for name, reasons in left_out.items()]
    return list(found.values()), lines


def unequal_options(protocol: Protocol, checked: Mapping[str, Checked]) -> list[str]:
    """A line for each of the protocol's options that some models have and others have not."""
    options = protocol.model.options
    return [
        f"model.options.{key} = {options[key]}: no option of {', '.join(without)}; the others get it"
        for key, without in unequal(options, {name: one.options for name, one in checked.items()}).items()
    ]


def trials(
    request: RunRequest,
    models: Sequence[Model],
    protocol: Protocol,
    ready: Ready,
    devices: Devices,
    where: Slots,
    folder: Path,
    registry: Registry,
    enough: Enough | None = None,
) -> list[TrialSpec]:
    """Every model once for each seed, the first seed's trials first; `folder` is the protocol's.

    Where `enough` says how many seeds that takes, they are those to begin with.
    """
    seeds = list(dict.fromkeys(request.seeds or protocol.seeds))
    seeds = seeds if enough is None else enough.seeds(seeds)
    wanted = (plugin for one, plugin in registry.measurements.values() if one.is_wanted(request.options.measure))
    measuring = registry.needed(*wanted)
    return [
        TrialSpec(
            model.name,
            seed,
            protocol,
            ready.stored,
            # A plugin that goes to another directory must not take its results there.
            trial_folder(folder, model.name, seed).absolute(),
            request.place,
            ready.weights.get(model.name),
            request.options,
            way(devices, request.options, where),
            known_of(model, protocol),
            ready.counts,
            request.fresh,
            plugins=registry.needed(*model.plugins),
            measuring=measuring,
            jobs=len(where.devices),
            until={} if enough is None else enough.asked,
        )
        for seed in seeds
        for model in models
    ]


def named_weights(texts: Sequence[str], models: Sequence[str]) -> dict[str, Path]:
    """The file that `--weights MODEL=FILE` names for each model; MODEL with or without its options and extensions.

    Raises RequestError where a text is written otherwise, or names a model that is not run.
    """
    named = {}
    for text in texts:
        # A model's options have equals signs of their own: the longest name that fits is meant.
        fitting = [called for name in models for called in _called(name) if text.startswith(f"{called}=")]
        if not fitting:
            raise RequestError(f"--weights {text}: write MODEL=FILE, MODEL being one that is run: {', '.join(models)}")
        meant = max(fitting, key=len)
        for name in models:
            if meant in _called(name):
                named[name] = Path(text[len(meant) + 1 :]).absolute()
    return named


def _called(name: str) -> set[str]:
    """What a model may be called: by its name, by its base's, by that without options."""
    base = PLUS.split(name)[0]
    return {name, base, base.partition(":")[0]}


def is_unnamed_change(request: RunRequest) -> bool:
    """Whether the request changes settings of the protocol, and gives the result no name of its own (`name=…`)."""
    keys = [override.partition("=")[0].strip() for override in request.overrides]
    return "name" not in keys and bool(keys or request.data)


def first_line(protocol: Protocol, chosen_by_default: bool) -> str:
    """What is run, and how to run something else where nobody chose it."""
    line = f"protocol {protocol.name}: {protocol.description}" if protocol.description else f"protocol {protocol.name}"
    if not chosen_by_default:
        return line
    other = "quick" if protocol.name == "cifar10" else "cifar10"
    return f"{line} (choose another with --protocol, such as --protocol {other})"

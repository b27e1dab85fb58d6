"""Finds plugins, registers them, and resolves the names of models and datasets.

A plugin that fails to import or to answer is reported and left out; it never stops the others.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from bench import hookspecs
from bench.errors import RequestError, unknown
from bench.events import Event
from bench.files import bundled
from bench.hookspecs import GIVEN, Claim, DatasetSpec, ExecutorSpec, ModelSpec
from bench.protocol import toml_value

# One name is one folder of results, and `:`, `/`, `,` and `=` have meanings of their own.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Plugin:
    """A registered plugin; `code` is the SHA-256 of its source, so that a changed one is noticed."""

    name: str
    place: str
    code: str


@dataclass(frozen=True)
class Model:
    """A model as asked for: `name` with its options written out, and the plugin it comes from."""

    name: str
    spec: ModelSpec
    options: dict[str, Any]
    plugin: Plugin

    @property
    def last_block(self) -> str | None:
        """The first module that trains under last-block fine-tuning: the plugin's, or `timm/NAME:last_block=…`."""
        return self.spec.last_block or self.options.get("last_block")

    def options_under(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """Its options, after the protocol's for those that this model has."""
        known = self.spec.options()
        return {key: value for key, value in defaults.items() if key in known} | self.options


@dataclass
class Registry:
    """Everything that plugins add, and what went wrong with those that are left out."""

    manager: pluggy.PluginManager
    plugins: dict[str, Plugin] = field(default_factory=dict)
    models: dict[str, tuple[ModelSpec, Plugin]] = field(default_factory=dict)
    datasets: dict[str, tuple[DatasetSpec, Plugin]] = field(default_factory=dict)
    executors: dict[str, tuple[ExecutorSpec, Plugin]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)  # plugins whose listener failed

    def model(self, text: str) -> Model:
        """The model that `NAME`, `NAME:key=value,…` or `timm/NAME` means.

        Raises RequestError for an unknown name, and for an option that the model does not have.
        """
        name, _, written = text.partition(":")
        if name.startswith("timm/"):
            spec, plugin = timm_model(name), Plugin("timm", "any timm model", "")
        elif name in self.models:
            spec, plugin = self.models[name]
        else:
            raise unknown("model", name, self.models, "python -m bench models")
        options = dict(_options(text, written))
        known = spec.options()
        for key in options:
            if key in GIVEN:
                raise RequestError(f"{text}: {key} comes from the protocol, not from an option")
            if key not in known and not spec.takes_any_option():
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise RequestError(f"{name} has no option {key!r}: {has}")
        options = {key: options[key] for key in sorted(options)}
        suffix = ",".join(f"{key}={_written(value)}" for key, value in options.items())
        return Model(f"{name}:{suffix}" if suffix else name, spec, options, plugin)

    def hear(self, event: Event) -> list[str]:
        """Tell every listener of the event; gives what went wrong with those that failed, which hear no more."""
        failed = []
        for hook in self.manager.hook.bench_event.get_hookimpls():
            if hook.plugin_name in self.deaf:
                continue
            try:
                hook.function(*[event for _ in hook.argnames])
            except Exception as error:  # a stranger's listener must not cost the run
                self.deaf.add(hook.plugin_name)
                failed.append(f"plugin {hook.plugin_name} hears no more: {type(error).__name__}: {error}")
        return failed

    def claims(self) -> tuple[list[Claim], list[str]]:
        """The plugins' claims, and a line for each plugin whose claims cannot be had."""
        claims: list[Claim] = []
        problems = []
        for hook in self.manager.hook.bench_claims.get_hookimpls():
            try:
                answer: Any = hook.function()
                own = list(answer or ())
                for claim in own:
                    if not isinstance(claim, Claim):
                        raise TypeError(f"bench_claims gives {type(claim).__name__}, not Claim")
            except Exception as error:  # a stranger's claims must not cost the others
                problems.append(
                    f"The claims of plugin {hook.plugin_name} are left out: {type(error).__name__}: {error}"
                )
            else:
                claims += own
        return claims, problems

    def dataset(self, text: str) -> tuple[DatasetSpec, str]:
        """The dataset that `NAME` or `NAME:LOCATION` means, and its location."""
        name, _, location = text.partition(":")
        if name not in self.datasets:
            raise unknown("dataset", name, self.datasets, "python -m bench datasets")
        return self.datasets[name][0], location

    def executor(self, name: str) -> ExecutorSpec:
        """The executor of that name."""
        if name not in self.executors:
            raise unknown("executor", name, self.executors, "python -m bench plugins")
        return self.executors[name][0]


def _options(text: str, written: str) -> Iterator[tuple[str, Any]]:
    for part in re.split(r",(?![^\[]*\])", written) if written else []:  # commas within a list separate nothing
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise RequestError(f"{text}: write options as NAME:key=value,key=value")
        found = toml_value(value)
        if toml_value(_written(found)) != found:  # a date, a table, a text with quotes, infinity
            raise RequestError(f"{text}: {key} must be a number, true, false, a plain word or a list of numbers")
        yield key, found


def _written(value: Any) -> str:
    """The value as it would be typed, whatever its spelling was."""
    if isinstance(value, list):
        return "[" + ",".join(_written(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return ""


def timm_model(name: str) -> ModelSpec:
    """The spec of `timm/NAME`. Whether timm has it is seen when it is built: importing timm takes seconds."""
    return ModelSpec(name, functools.partial(_build_timm, name.removeprefix("timm/")), "timm", source="timm")


def _build_timm(
    timm_name: str, *, num_classes: int, image_size: int, pretrained: bool, last_block: str = "", **options: Any
) -> Any:
    import timm

    if not timm.is_model(timm_name):
        names = timm.list_models()
        raise unknown("timm model", timm_name, names, "python -c 'import timm; print(timm.list_models())'")
    configuration = timm.get_pretrained_cfg(timm_name)
    if configuration is not None and configuration.fixed_input_size:
        options = {"img_size": image_size, **options}
    try:
        return timm.create_model(timm_name, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:  # timm hands options on to the model's constructor, which names the one it lacks
        if "unexpected keyword argument" not in str(error):
            raise
        option = str(error).rpartition("argument ")[2]
        raise RequestError(f"timm/{timm_name} has no option {option}") from None


def load_plugins(folders: Sequence[Path] = (), working_directory: Path | None = None) -> Registry:
    """Register the bundled plugins, installed ones, and those in plugins/, `$BENCH_PLUGINS` and `folders`.

    Raises RequestError where one of `folders` does not exist.
    """
    registry = Registry(pluggy.PluginManager("bench"))
    registry.manager.add_hookspecs(hookspecs)
    for name, load, place, code in _found(folders, working_directory or Path.cwd(), registry.problems):
        _register(registry, name, load, place, code)
    return registry


def _found(
    folders: Sequence[Path], working_directory: Path, problems: list[str]
) -> Iterator[tuple[str, Callable[[], ModuleType], str, str]]:
    seen: set[Path] = set()
    for folder in (bundled("plugins"), None, *_plugin_folders(folders, working_directory)):
        if folder is None:  # between the bundled ones and the user's own
            for entry in entry_points(group="bench"):
                version = entry.dist.version if entry.dist else ""
                yield entry.name, entry.load, entry.value, hashlib.sha256(version.encode()).hexdigest()
            continue
        for file in sorted(folder.glob("*.py")):
            if file.name.startswith(("_", ".")) or file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                code = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:  # a folder, a link to nowhere
                problems.append(f"plugin {file} is left out: {error.strerror}")
                continue
            yield file.stem, functools.partial(_import_file, file), str(file), code


def _plugin_folders(folders: Sequence[Path], working_directory: Path) -> Iterator[Path]:
    yield working_directory / "plugins"
    named = [Path(folder) for folder in os.environ.get("BENCH_PLUGINS", "").split(os.pathsep) if folder]
    for folder in (*named, *folders):
        if not folder.is_dir():
            raise RequestError(f"plugin folder {folder} does not exist")
        yield folder


def _import_file(file: Path) -> ModuleType:
    # The path is part of the module's name: two folders may each have a mine.py.
    name = f"bench_plugin_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _register(registry: Registry, name: str, load: Callable[[], Any], place: str, code: str) -> None:
    """Import and register one plugin; whatever it does wrong becomes a line in `problems`."""
    unique = name if name not in registry.plugins else f"{name} ({place})"
    plugin = Plugin(unique, place, code)
    try:
        module = load()
        registry.manager.register(module, unique)
        registry.manager.check_pending()  # a hook's name misspelt
        if not registry.manager.get_hookcallers(module):
            raise TypeError("it has no function marked @hookimpl")
        models = _answers(module, "bench_models", ModelSpec)
        datasets = _answers(module, "bench_datasets", DatasetSpec)
        executors = _answers(module, "bench_executors", ExecutorSpec)
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything; the others must go on
        if registry.manager.has_plugin(unique):
            registry.manager.unregister(name=unique)
        registry.problems.append(f"plugin {place} is left out: {type(error).__name__}: {error}")
        return
    registry.plugins[unique] = plugin
    _collect(registry.models, models, plugin, registry.problems)
    _collect(registry.datasets, datasets, plugin, registry.problems)
    _collect(registry.executors, executors, plugin, registry.problems)


def _answers(module: Any, hook: str, kind: type[ModelSpec] | type[DatasetSpec] | type[ExecutorSpec]) -> list[Any]:
    """What the plugin's hook gives; TypeError or ValueError for what is not of that kind, or badly named."""
    implementation = getattr(module, hook, None)
    specs = list(implementation() or ()) if implementation is not None else []
    for spec in specs:
        if not isinstance(spec, kind):
            raise TypeError(f"{hook} gives {type(spec).__name__}, not {kind.__name__}")
        if not NAME.fullmatch(spec.name):
            raise ValueError(f"{spec.name!r} is no name: use letters, digits, '.', '_' and '-'")
    return specs


def _collect(into: dict[str, Any], specs: list[Any], plugin: Plugin, problems: list[str]) -> None:
    for spec in specs:
        if spec.name in into:
            owner = into[spec.name][1].place
            problems.append(f"{spec.name} of plugin {plugin.place} is left out: {owner} has that name")
        else:
            into[spec.name] = (spec, plugin)

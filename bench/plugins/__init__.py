"""Finds plugins, registers them, asks them, and resolves the names of models and datasets.

A plugin that fails to import or to answer is named and left out; it never stops the others.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from bench import hookspecs
from bench.errors import RequestError, meant, unknown
from bench.events import Event
from bench.files import file_name
from bench.guard import LIMIT, guarded, is_the_users
from bench.hookspecs import GIVEN, Claim, DatasetSpec, ExecutorSpec, ExtensionSpec, MeasureSpec, ModelSpec
from bench.plugins.finding import (
    Plugin,
    at_fault,
    check_hooks,
    check_parameters,
    find_plugins,
    installed_plugins,
    is_file,
    plugin_files,
    what_went_wrong,
)
from bench.plugins.names import FORMER, TIMM, Extension, Model, read_options, timm_model, written_as
from bench.plugins.probe import why_not
from bench.protocol import LONGEST_NAME
from bench.records.efficiency import LONGEST
from bench.records.model_names import PLUS
from bench.records.quantities import BY_KEY, Quantity

__all__ = ["Extension", "Model", "Plugin", "Registry", "load_plugins", "timm_model"]

# One name is one folder of results, and `+`, `:`, `/`, `,` and `=` have meanings of their own.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# A measurement's name is a part of its quantities' paths, in which dots separate.
MEASUREMENT_NAME = re.compile(r"[A-Za-z0-9_-]+")
# What is asked of every plugin once, when it is loaded.
GATHERED = {
    "bench_models": ModelSpec,
    "bench_extensions": ExtensionSpec,
    "bench_datasets": DatasetSpec,
    "bench_measurements": MeasureSpec,
    "bench_executors": ExecutorSpec,
}

Answer = TypeVar("Answer")


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(hookspecs)
    return manager


@dataclass
class Registry:
    """Everything that plugins add, and what went wrong with those that are left out."""

    manager: pluggy.PluginManager = field(default_factory=_manager)
    plugins: dict[str, Plugin] = field(default_factory=dict)
    models: dict[str, tuple[ModelSpec, Plugin]] = field(default_factory=dict)
    extensions: dict[str, tuple[ExtensionSpec, Plugin]] = field(default_factory=dict)
    datasets: dict[str, tuple[DatasetSpec, Plugin]] = field(default_factory=dict)
    measurements: dict[str, tuple[MeasureSpec, Plugin]] = field(default_factory=dict)
    executors: dict[str, tuple[ExecutorSpec, Plugin]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    left_out: list[tuple[Plugin, str]] = field(default_factory=list)  # with the line of `problems`

    def each(
        self, hook: str, read: Callable[[list[Any]], Answer], /, **arguments: Any
    ) -> Iterator[tuple[Plugin, Answer]]:
        """What each plugin answers to the hook, in pluggy's order; `read` makes sense of the list of its answers.

        Wrappers are around the answers of every plugin. A plugin that fails (a wrapper that does, or one of whose
        answers `read` makes no sense) is named in `problems` and asked nothing more; the others are.
        """
        implementations = getattr(self.manager.hook, hook).get_hookimpls()
        wrappers = [one for one in implementations if one.wrapper or one.hookwrapper]
        answering = [one for one in reversed(implementations) if one not in wrappers]
        for name in dict.fromkeys(one.plugin_name for one in answering):
            own = [one for one in answering if one.plugin_name == name]
            others = [one.plugin for one in answering if one.plugin_name != name]
            while self.manager.has_plugin(name):
                try:
                    with guarded():
                        answer = read(self.manager.subset_hook_caller(hook, others)(**arguments))
                except BaseException as error:  # a stranger's code may raise anything
                    if is_the_users(error):
                        raise
                    # Where it was a wrapper, the plugin is asked again without it.
                    self._ask_no_more(at_fault(error, [*own, *wrappers]), hook, error)
                else:
                    yield self.plugins[name], answer
                    break

    def _ask_no_more(self, one: pluggy.HookImpl, hook: str, error: BaseException) -> None:
        self.manager.unregister(name=one.plugin_name)
        plugin = self.plugins[one.plugin_name]
        # What a plugin itself says to the user needs no line of its file.
        is_advice = isinstance(error, RequestError)
        why = " ".join(str(error).split()) if is_advice else what_went_wrong(error, plugin)
        if hook in GATHERED:
            self.leave_out(plugin, why)
        else:  # what it adds is there; by its name, since the line may be published
            self.problems.append(f"plugin {one.plugin_name} is asked no more, for its {hook}: {why}")

    def leave_out(self, plugin: Plugin, why: str) -> None:
        """Say that the plugin is left out."""
        self.problems.append(f"plugin {plugin.said} is left out: {why}")
        self.left_out.append((plugin, self.problems[-1]))

    def hear(self, event: Event) -> list[str]:
        """Tell every listener of the event; gives what went wrong with those that failed, which hear no more."""
        return self._asked_now("bench_event", list, event=event)[1]

    def claims(self) -> tuple[list[Claim], list[str]]:
        """The plugins' claims, and a line for each plugin whose claims cannot be had."""
        answers, problems = self._asked_now("bench_claims", _claims)
        return [claim for own in answers for claim in own], problems

    def _asked_now(
        self, hook: str, read: Callable[[list[Any]], Answer], **arguments: Any
    ) -> tuple[list[Answer], list[str]]:
        """The answers, and what went wrong this time: it is told by the caller, and is no problem of loading."""
        known = len(self.problems)
        answers = [answer for _, answer in self.each(hook, read, **arguments)]
        problems = self.problems[known:]
        del self.problems[known:]
        return answers, problems

    def model(self, text: str) -> Model:
        """The model that `NAME`, `NAME:key=value,…` or `timm/NAME` means, and what each `+EXTENSION` after it.

        Raises RequestError for an unknown name, and for an option that the model or the extension does not have.
        """
        written, *extending = PLUS.split(text)
        name, _, options = written.partition(":")
        if name.startswith("timm/"):
            spec, plugin = timm_model(name), TIMM
        elif name in self.models:
            spec, plugin = self.models[name]
        elif name in FORMER:
            raise RequestError(f"{name} is now {FORMER[name]}: the same, with its base's own patch size")
        elif name in self.extensions:
            raise RequestError(f"{name} is an extension: write MODEL+{written}, such as vit_tiny+{written}")
        else:
            raise unknown("model", name, self.models, "python -m bench models")
        full, chosen = self._with_options(name, spec, options)
        model = Model(full, spec, chosen, plugin, tuple(map(self.extension, extending)))
        names = [extension.spec.name for extension in model.extensions]
        if len({*names}) < len(names):
            raise RequestError(f"{text}: the same extension twice")
        if len(file_name(model.name).encode()) > LONGEST:
            raise RequestError(f"{model.name[:60]}…: its name with these options is too long for a folder's")
        return model

    def extension(self, text: str) -> Extension:
        """The extension that `NAME` or `NAME:key=value,…` means; RequestError as for a model."""
        name, _, options = text.partition(":")
        if name in self.models:
            raise RequestError(f"{name} is a model, and no extension: name models before --extensions")
        if name not in self.extensions:
            raise unknown("extension", name, self.extensions, "python -m bench extensions")
        spec, plugin = self.extensions[name]
        full, chosen = self._with_options(name, spec, options)
        return Extension(full, spec, chosen, plugin)

    @staticmethod
    def _with_options(name: str, spec: ModelSpec | ExtensionSpec, written: str) -> tuple[str, dict[str, Any]]:
        """The name with its options in one order, and their values."""
        text = f"{name}:{written}" if written else name
        options = dict(read_options(text, written))
        known = spec.options()
        for key in options:
            if key in GIVEN:
                raise RequestError(f"{text}: {key} comes from the protocol, not from an option")
            if key not in known and not spec.takes_any_option():
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise RequestError(f"{name} has no option {key!r}: {meant(key, known)}{has}")
        options = {key: options[key] for key in sorted(options)}
        suffix = ",".join(f"{key}={written_as(value)}" for key, value in options.items())
        return f"{name}:{suffix}" if suffix else name, options

    def dataset(self, text: str) -> tuple[DatasetSpec, str]:
        """The dataset that `NAME` or `NAME:LOCATION` means, and its location."""
        name, _, location = text.partition(":")
        if name not in self.datasets:
            raise unknown("dataset", name, self.datasets, "python -m bench datasets")
        return self.datasets[name][0], location

    def needed(self, *owners: Plugin) -> tuple[str, ...]:
        """The places of these plugins and of those that wrap the answers of others, the bundled ones aside."""
        hooks = (getattr(self.manager.hook, name).get_hookimpls() for name in vars(self.manager.hook))
        wrapping = {one.plugin_name for found in hooks for one in found if one.wrapper or one.hookwrapper}
        wanted = [*owners, *(self.plugins[name] for name in sorted(wrapping & self.plugins.keys()))]
        return tuple(dict.fromkeys(plugin.place for plugin in wanted if not plugin.bundled))

    def executor(self, name: str) -> ExecutorSpec:
        """The executor of that name."""
        if name not in self.executors:
            raise unknown("executor", name, self.executors, "python -m bench plugins")
        return self.executors[name][0]


def load_plugins(
    folders: Sequence[Path] = (),
    working_directory: Path | None = None,
    *,
    only: Collection[str] | None = None,
    try_first: bool = False,
    limit: float = LIMIT,
) -> Registry:
    """Register the bundled plugins, installed ones, and those in plugins/, `$BENCH_PLUGINS` and `folders`.

    `only`: of those that are not bundled, those in these places, so that no other does anything to this process.
    `try_first`: one that would end the process, or takes longer than `limit` seconds, is found in another. Raises
    RequestError where one of `folders` does not exist.
    """
    registry = Registry()
    directory = (working_directory or Path.cwd()).absolute()
    imported: dict[str, Any] = {}
    # Looking through all packages of the system takes longer than all else here.
    installed = only is None or any(not is_file(place) for place in only)
    for plugin, load in find_plugins(folders, directory, registry.problems, installed=installed):
        if only is not None and not plugin.bundled and plugin.place not in only:
            continue
        if try_first and not plugin.bundled:
            why = why_not(plugin.place, plugin.code, directory, limit)
            if why is not None:
                registry.leave_out(plugin, why)
                continue
        _import_into(registry, imported, plugin, load, alone=only is not None)
    return _registered(registry, imported)


def load_one(place: str) -> Registry:
    """Register the plugin in that place alone: a file, or an entry point's value."""
    registry, imported = Registry(), dict[str, Any]()
    if is_file(place):
        found = plugin_files([Path(place)], set(), registry.problems, bundled=False)
    else:
        found = ((plugin, load) for plugin, load in installed_plugins() if plugin.place == place)
    for plugin, load in found:
        _import_into(registry, imported, plugin, load, alone=True)
    return _registered(registry, imported)


def _import_into(
    registry: Registry, imported: dict[str, Any], plugin: Plugin, load: Callable[[], Any], alone: bool
) -> None:
    try:
        with guarded(environment=not alone):
            module = load()
            check_hooks(registry.manager, module)
    except BaseException as error:  # a stranger's code may raise anything; the others must go on
        if is_the_users(error):
            raise
        registry.leave_out(plugin, what_went_wrong(error, plugin))
        return
    name = plugin.name if plugin.name not in imported else f"{plugin.name} ({plugin.place})"
    registry.plugins[name], imported[name] = replace(plugin, name=name), module


def _registered(registry: Registry, imported: dict[str, Any]) -> Registry:
    """With what the imported plugins answer, when all are asked."""
    for name in reversed(imported):  # pluggy asks first who was registered last
        try:
            registry.manager.register(imported[name], name)
        except (pluggy.PluginValidationError, ValueError) as error:  # a wrapper that does not yield; a module twice
            plugin = registry.plugins[name]
            registry.leave_out(plugin, what_went_wrong(error, plugin))
    gathered = {
        hook: list(registry.each(hook, functools.partial(_specs, hook=hook, kind=kind)))
        for hook, kind in GATHERED.items()
    }
    registry.plugins = {name: one for name, one in registry.plugins.items() if registry.manager.has_plugin(name)}
    collected = (
        registry.models,
        registry.extensions,
        registry.datasets,
        registry.measurements,
        registry.executors,
    )
    for hook, into in zip(GATHERED, collected, strict=True):
        for plugin, specs in gathered[hook]:
            if plugin.name in registry.plugins:  # else a later hook of it failed
                _collect(into, specs, plugin, registry.problems)  # type: ignore[arg-type]
    return registry


def _specs(answers: list[Any], hook: str, kind: type[Any]) -> list[Any]:
    """The specs that a plugin gives; TypeError or ValueError for what is not of that kind, or badly named."""
    specs = [spec for answer in answers for spec in answer]
    for spec in specs:
        if not isinstance(spec, kind):
            raise TypeError(f"{hook} gives {type(spec).__name__}, not {kind.__name__}")
        if kind is MeasureSpec and not MEASUREMENT_NAME.fullmatch(spec.name):
            raise ValueError(f"{spec.name!r} is no name: use letters, digits, '_' and '-'")
        if not NAME.fullmatch(spec.name) or len(spec.name) > LONGEST_NAME:
            said = spec.name if len(str(spec.name)) <= LONGEST_NAME else f"{spec.name[:40]}…"
            use = f"use letters, digits, '.', '_' and '-', {LONGEST_NAME} at most"
            raise ValueError(f"{said!r} is no name: {use}")
        check_parameters(spec)
        for quantity in getattr(spec, "quantities", ()):
            if not isinstance(quantity, Quantity):
                raise TypeError(f"{spec.name}: its quantities are {type(quantity).__name__}, not Quantity")
            if quantity.key in BY_KEY:
                raise ValueError(f"{spec.name}: there is a quantity {quantity.key} already; choose another key")
    return specs


def _claims(answers: list[Any]) -> list[Claim]:
    claims = [claim for answer in answers for claim in answer]
    for claim in claims:
        if not isinstance(claim, Claim):
            raise TypeError(f"bench_claims gives {type(claim).__name__}, not Claim")
        if not (isinstance(claim.text, str) and isinstance(claim.source, str) and callable(claim.check)):
            raise TypeError("a Claim has a text, a source, which is a text, too, and a check that can be called")
    return claims


def _collect(into: dict[str, Any], specs: list[Any], plugin: Plugin, problems: list[str]) -> None:
    taken = {name: owner for spec, owner in into.values() for name in _names(spec)}
    for spec in specs:
        owner = next((taken[name] for name in _names(spec) if name in taken), None)
        if owner is not None:
            problems.append(f"{spec.name} of plugin {plugin.said} is left out: {owner.said} has that name")
        else:
            into[spec.name] = (spec, plugin)
            taken |= dict.fromkeys(_names(spec), plugin)


def _names(spec: Any) -> list[str]:
    """The names under which a spec is known: its own, and the keys of what it measures."""
    return [spec.name, *(quantity.key for quantity in getattr(spec, "quantities", ()))]

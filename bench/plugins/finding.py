"""Where plugins are, how one is imported, and what of it cannot be a plugin."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from bench.errors import RequestError
from bench.files import bundled
from bench.hookspecs import GIVEN


@dataclass(frozen=True)
class Plugin:
    """A registered plugin; `code` is the SHA-256 of its source, so that a changed one is noticed.

    `place` is a file, or an entry point's value. Of an installed one, `package` and `version` are its distribution's,
    and `home` is the folder, or the file, that its source is in.
    """

    name: str
    place: str
    code: str
    bundled: bool = False
    package: str = ""
    version: str = ""
    home: str = ""

    @property
    def said(self) -> str:
        """Where it is: its file, or its name with its entry point's value and the package that it comes in."""
        return f"{self.name} ({self.place}, {self.package} {self.version})" if self.package else self.place

    def is_called(self, name: str) -> bool:
        """Whether that is its name, its place or its package's name."""
        return name in (self.name, self.place) or (self.package != "" and name == self.package)

    def wrote(self, file: str) -> bool:
        """Whether that file is of its source."""
        return file == self.place or (self.home != "" and Path(file).is_relative_to(self.home))


class ContractError(TypeError):
    """A plugin's function is not as the contract says; `file` and `line` are where it begins, if it tells."""

    def __init__(self, said: str, function: Any) -> None:
        super().__init__(said)
        code = getattr(inspect.unwrap(getattr(function, "func", function)), "__code__", None)
        self.file: str = getattr(code, "co_filename", "")
        self.line: int = getattr(code, "co_firstlineno", 0)


def is_file(place: str) -> bool:
    """Whether a plugin of that place is a file; else the place is an entry point's value."""
    return place.endswith(".py")


def find_plugins(
    folders: Sequence[Path], working_directory: Path, problems: list[str], *, installed: bool = True
) -> Iterator[tuple[Plugin, Callable[[], Any]]]:
    """Every plugin that there is, not yet imported, and how it is imported; those of packages where `installed`.

    Its place is a file, or an entry point's value.
    """
    seen: set[Path] = set()
    own = bundled("plugins")
    for folder in (own, None, *plugin_folders(folders, working_directory)):
        if folder is None:  # between the bundled ones and the user's own
            yield from installed_plugins() if installed else ()
        else:
            yield from plugin_files(sorted(folder.glob("*.py")), seen, problems, bundled=folder == own)


def installed_plugins() -> Iterator[tuple[Plugin, Callable[[], Any]]]:
    """Those of the packages that are installed."""
    for entry in entry_points(group="bench"):
        yield _installed(entry), entry.load


def _installed(entry: EntryPoint) -> Plugin:
    """The plugin behind an entry point; nothing of it is imported."""
    package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
    home = _home(entry.module)
    code = hashlib.sha256(version.encode())
    for file in sorted(home.rglob("*.py")) if home.is_dir() else [home]:
        if file.is_file():  # not within a zip
            code.update(file.relative_to(home.parent).as_posix().encode() + file.read_bytes())
    return Plugin(entry.name, entry.value, code.hexdigest(), package=package, version=version, home=str(home))


def _home(module: str) -> Path:
    """The folder of the package that a module is in, or its file where it is in none."""
    nowhere = Path(f"{module}.py")
    try:
        found = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):  # as its import will say
        return nowhere
    if found is None:
        return nowhere
    return Path(next(iter(found.submodule_search_locations or ()), found.origin or nowhere))


def plugin_files(
    files: Sequence[Path], seen: set[Path], problems: list[str], bundled: bool
) -> Iterator[tuple[Plugin, Callable[[], Any]]]:
    """Those of the files that are plugins, and not among those `seen`, to which they are added."""
    for file in files:
        if file.name.startswith(("_", ".")) or file.resolve() in seen:
            continue
        seen.add(file.resolve())
        try:
            source = file.read_bytes()
        except OSError as error:  # a folder, a link to nowhere
            problems.append(f"plugin {file} is left out: {error.strerror}")
            continue
        plugin = Plugin(file.stem, str(file), hashlib.sha256(source).hexdigest(), bundled)
        yield plugin, functools.partial(_import, file, source, plugin.code)


def plugin_folders(folders: Sequence[Path], working_directory: Path) -> Iterator[Path]:
    """Where plugins are beside the bundled and the installed ones; RequestError for a folder that does not exist."""
    yield working_directory / "plugins"
    named = [Path(folder) for folder in os.environ.get("BENCH_PLUGINS", "").split(os.pathsep) if folder]
    for folder in (*named, *folders):
        try:
            there = folder.is_dir()
        except OSError as error:  # a name that no file system takes
            raise RequestError(f"plugin folder {str(folder)[:60]}…: {error.strerror}") from None
        if not there:
            raise RequestError(f"plugin folder {folder} does not exist")
        yield working_directory / folder  # a plugin that goes elsewhere must not take the others with it


def _import(file: Path, source: bytes, code: str) -> ModuleType:
    """The module of that source; imported once, but anew where the file has changed."""
    # The path is part of the module's name: two folders may each have a mine.py.
    name = f"bench_plugin_{file.stem}_{hashlib.sha256(f'{file.resolve()} {code}'.encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # a .py file always has one
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        exec(compile(source, str(file), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    """TypeError where none of the plugin's functions is a hook, or one is none of those that there are."""
    known = {name: getattr(manager.hook, name).spec for name in vars(manager.hook) if name.startswith("bench_")}
    found = False
    for name in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, name)
        if options is None:
            continue
        found = True
        hook, function = options.get("specname") or name, getattr(plugin, name)
        if hook not in known:
            if options.get("optionalhook"):
                continue
            near = difflib.get_close_matches(hook, known, n=1, cutoff=0)
            raise ContractError(f"there is no hook {hook}; did you mean {near[0]}?", function)
        takes = known[hook].argnames
        more = [name for name in inspect.signature(function).parameters if name not in takes]
        if more:
            said = f"{hook} is given ({', '.join(takes)}), and {', '.join(more)} is none of these"
            raise ContractError(said, function)
    if not found:
        raise TypeError("it has no function marked @hookimpl")


# What a spec's function is given by its name, besides positional arguments: bench/hookspecs.py says what each is.
GIVEN_BY_NAME = {
    "build": GIVEN,
    "apply": ("image_size",),
    "load": ("location", "image_size", "cache"),
}


def check_parameters(spec: Any) -> None:
    """ContractError where the spec's function cannot be called as it says: it lacks a parameter, or wants more."""
    for attribute, given in GIVEN_BY_NAME.items():
        function = getattr(spec, attribute, None)
        if function is None:
            continue
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # one that does not tell
            continue
        by_name = {one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
        takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
        lacking = [name for name in given if name not in by_name and not takes_any]
        needed = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
        more = [name for name in needed if name not in given]
        if lacking or more:
            yours = f"lacks {', '.join(lacking)}" if lacking else f"wants {', '.join(more)}, which has no default"
            said = f"{spec.name}: {attribute} takes keyword arguments {', '.join(given)}; yours {yours}"
            raise ContractError(said, function)


def what_went_wrong(error: BaseException, plugin: Plugin) -> str:
    """The error in one line, and the line of the plugin's source that it comes from."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, ContractError):
        file, line = error.file, error.line
    else:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if plugin.wrote(one.filename)]
        file, line = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
    if not file:
        return said
    return f"{said} (line {line})" if file == plugin.place else f"{said} (line {line} of {file})"


def at_fault(error: BaseException, asked: Sequence[pluggy.HookImpl]) -> pluggy.HookImpl:
    """Which of the functions that were asked the error comes from: the one whose file is innermost, or the first."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for one in asked:
            if one.function.__code__.co_filename == frame.filename:
                return one
    return asked[0]

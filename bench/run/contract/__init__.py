"""`check-plugin`: what a plugin adds, held against the contract on real inputs, each part in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.errors import RequestError
from bench.events import Tell
from bench.guard import is_the_users
from bench.plugins import Plugin, Registry, load_plugins
from bench.plugins.finding import what_went_wrong
from bench.request import Part, PartRequest


@dataclass(frozen=True)
class Finding:
    """What was looked at, and whether it is as the contract wants it; None: it does not apply, or could not be tried.

    `said`: what to do where it is not, why where it does not apply.
    """

    what: str
    ok: bool | None
    said: str = ""


class WrongError(Exception):
    """It is not as the contract wants it; the text says what to do."""


class NotTriedError(Exception):
    """It does not apply here, or cannot be tried; the text says why."""


@dataclass
class Findings:
    """Findings as they come: what raises is one, and does not end the others."""

    plugin: Plugin  # the line of its source is named
    found: list[Finding] = field(default_factory=list)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Within it, that is looked at."""
        try:
            yield
        except NotTriedError as why:
            self.found.append(Finding(what, None, str(why)))
        except (WrongError, RequestError) as wrong:
            self.found.append(Finding(what, False, str(wrong)))
        except BaseException as error:  # a stranger's code may raise anything
            if is_the_users(error):
                raise
            self.found.append(Finding(what, False, what_went_wrong(error, self.plugin)))
        else:
            self.found.append(Finding(what, True))


def check_part(request: PartRequest, emit: Tell) -> list[Finding]:
    """What is found of that model, extension, dataset or measurement."""
    from bench.run.contract import datasets, extensions, measurements, models

    registry = load_plugins(request.place.plugins, request.place.working_directory)
    checks: dict[str, Callable[[str, Registry], list[Finding]]] = {
        "model": models.check,
        "extension": extensions.check,
        "dataset": datasets.check,
        "measurement": measurements.check,
    }
    return checks[request.part.kind](request.part.name, registry)


def parts_of(name: str, registry: Registry) -> list[Part]:
    """The models, extensions, datasets and measurements of the plugin or package of that name, or what is called so."""
    tables: dict[str, Mapping[str, tuple[Any, Plugin]]] = {
        "model": registry.models,
        "extension": registry.extensions,
        "dataset": registry.datasets,
        "measurement": registry.measurements,
    }
    found = [
        Part(kind, key)
        for kind, table in tables.items()
        for key, (_, plugin) in table.items()
        if plugin.is_called(name)
    ]
    return found or [Part(kind, name) for kind, table in tables.items() if name in table]


def untried(name: str, registry: Registry) -> dict[Part, list[Finding]]:
    """Of a plugin that adds none of these (an executor, a listener, claims): that it is loaded, with which hooks."""
    why = "only models, extensions, datasets and measurements are; the commands that call these hooks show the rest"
    found = {}
    for plugin in registry.plugins.values():
        if plugin.is_called(name):
            callers = registry.manager.get_hookcallers(registry.manager.get_plugin(plugin.name)) or ()
            hooks = ", ".join(caller.name for caller in callers)
            found[Part("plugin", plugin.name)] = [
                Finding("is loaded, and its hooks are the contract's", True, hooks),
                Finding("is tried on real inputs", None, why),
            ]
    return found

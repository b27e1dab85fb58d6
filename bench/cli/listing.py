"""The commands that list what there is: models, extensions, datasets, protocols, plugins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import completing
from bench.cli.options import Json, Plugins, Settings
from bench.cli.printing import print_json, print_list, say, warn

if TYPE_CHECKING:
    from bench.hookspecs import ExtensionSpec, ModelSpec
    from bench.plugins import Plugin, Registry


def models(
    trainable: Annotated[
        str | None,
        typer.Option(
            help="Show which layers of this model train under the protocol.",
            metavar="MODEL",
            autocompletion=completing.models,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help="The protocol for --trainable.", metavar="NAME|FILE", autocompletion=completing.protocols),
    ] = "cifar10",
    classes: Annotated[
        int, typer.Option(help="How many classes the head has, for --trainable.", min=2, metavar="N")
    ] = 10,
    settings: Settings = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the count in this results folder, for --trainable.", metavar="RESULTS")
    ] = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """List the models that can be run, or show which layers of one train."""
    if trainable is not None:
        _show_layers(trainable, protocol, settings or (), classes, tuple(plugins or ()), keep, as_json)
        return
    print_list(_with_options(_registry(plugins).models, "family"), as_json)
    if not as_json:
        say("\nAny timm model: timm/NAME. Options: NAME:key=value,key=value. Extensions: MODEL+EXTENSION.")


def extensions(plugins: Plugins = None, as_json: Json = False) -> None:
    """List the extensions that a model can have, and which models each changes."""
    print_list(_with_options(_registry(plugins).extensions, "changes"), as_json)
    if not as_json:
        say("\nMODEL+EXTENSION:key=value, several from left to right; or run MODEL... --extensions EXTENSION...")


def datasets(plugins: Plugins = None, as_json: Json = False) -> None:
    """List the datasets that can be used."""
    rows = [
        {"name": name, "plugin": plugin.name, "source": spec.source}
        for name, (spec, plugin) in _registry(plugins).datasets.items()
    ]
    print_list(rows, as_json)


def cache(
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Remove the entries of that name or id; all: everything.", metavar="NAME|ID|all"),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what the cache holds, decoded pictures and downloads, with sizes; or clear what is named."""
    from bench.data import contents
    from bench.files import amount, cache_folder

    found = contents.clear(clear) if clear else contents.contents()
    if as_json:
        print_json([{"id": one.id, "name": one.name, "what": one.what, "bytes": one.bytes} for one in found])
        return
    rows = [
        {"id": one.id, "name": one.name, "what": one.what, "size": amount(one.bytes), "days old": f"{one.days:.1f}"}
        for one in found
    ]
    print_list(rows, as_json=False)
    total = amount(sum(one.bytes for one in found))
    say(f"\nremoved: {total}" if clear else f"\n{total} in {cache_folder()}; --clear NAME removes what it names")


def protocols(
    show: Annotated[
        str | None,
        typer.Argument(
            help="Print this protocol's settings.", metavar="[NAME|FILE]", autocompletion=completing.protocols
        ),
    ] = None,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting that a protocol can have.")] = False,
    as_json: Json = False,
) -> None:
    """List the protocols, or show one with all its settings."""
    from bench.protocol import load_protocol, protocol_files, setting_names

    if settings:
        names = list(setting_names())
        say(json.dumps(names) if as_json else "\n".join(names))
    elif show is not None:
        import tomli_w

        one = load_protocol(show)
        whole = {"name": one.name, "description": one.description, **one.settings(), "exclude": one.exclude}
        if as_json:
            print_json({**whole, "fingerprint": one.fingerprint})
        else:
            say(tomli_w.dumps(whole) + f"\n# fingerprint {one.fingerprint}")
    else:
        rows = []
        for name in protocol_files():
            one = load_protocol(name)
            fingerprint = one.fingerprint if as_json else one.fingerprint[:12]
            rows.append({"name": name, "fingerprint": fingerprint, "description": one.description})
        print_list(rows, as_json)


def plugins(plugins: Plugins = None, as_json: Json = False) -> None:
    """List the plugins found, what each adds, and what went wrong with any."""
    registry = _registry(plugins)
    rows = [
        {
            "name": name,
            "package": f"{plugin.package} {plugin.version}".strip(),
            "place": plugin.place,
            "models": [model for model, (_, owner) in registry.models.items() if owner == plugin],
            "extensions": [extension for extension, (_, owner) in registry.extensions.items() if owner == plugin],
            "datasets": [dataset for dataset, (_, owner) in registry.datasets.items() if owner == plugin],
            "measurements": [name for name, (_, owner) in registry.measurements.items() if owner == plugin],
            "executors": [name for name, (_, owner) in registry.executors.items() if owner == plugin],
        }
        for name, plugin in registry.plugins.items()
    ]
    if as_json:
        print_json({"plugins": rows, "problems": registry.problems})
    else:
        print_list(rows, as_json)


def _with_options(
    registered: Mapping[str, tuple[ModelSpec | ExtensionSpec, Plugin]], about: str
) -> list[dict[str, Any]]:
    """A row a model or an extension; `about` is what its spec says of it beside its options."""
    return [
        {
            "name": name,
            about: getattr(spec, about),
            "options": spec.options(),
            "plugin": plugin.name,
            "source": spec.source,
        }
        for name, (spec, plugin) in registered.items()
    ]


def _show_layers(
    model: str,
    protocol: str,
    overrides: Sequence[str],
    classes: int,
    plugins: tuple[Path, ...],
    keep: Path | None,
    as_json: bool,
) -> None:
    """Print which layers of the model train under the protocol, of a head with so many classes."""
    from bench import api
    from bench.request import Place

    name, what, layers = api.trainable_layers(
        model, protocol, overrides=overrides, classes=classes, place=Place(plugins=plugins)
    )
    trained = sum(one["parameters"] for one in layers if one["trains"])
    total = sum(one["parameters"] for one in layers)
    if keep is not None:
        from bench.protocol import load_protocol
        from bench.records.trainable import Trainable, write_trainable

        write_trainable(keep, Trainable.of(name, load_protocol(protocol, overrides), classes, total, trained))
    if as_json:
        counts = {"parameters": total, "trainable_parameters": trained}
        print_json({"model": name, "what": what, **counts, "layers": layers})
        return
    rows = [
        {
            "layer": one["name"],
            "kind": one["kind"],
            "parameters": f"{one['parameters']:,}",
            "state": "trained" if one["trains"] else "frozen",
        }
        for one in layers
    ]
    print_list(rows, as_json=False)
    say(f"\n{name}, {what}: {trained:,} of {total:,} parameters train.")


def _registry(folders: list[Path] | None) -> Registry:
    from bench.plugins import load_plugins

    registry = load_plugins(folders or (), try_first=True)
    warn(registry.problems)
    return registry

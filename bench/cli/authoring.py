"""The command for whoever writes a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import completing
from bench.cli.options import Json, Plugins, Quiet
from bench.cli.printing import print_json, say

# How what was found is shown.
SIGNS = {True: "✓", False: "✗", None: "–"}

KINDS = "model|extension|dataset|measurement|runtime|package"


def new_plugin(
    name: Annotated[str, typer.Argument(help="What it adds is called so.", metavar="NAME")],
    kind: Annotated[str, typer.Option(help="What it adds; package: an installable project.", metavar=KINDS)] = "model",
    into: Annotated[
        Path | None,
        typer.Option(help="The folder.  [default: plugins; of a package: the working directory]", metavar="DIR"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a plugin that already runs, to be changed, and say how to try it."""
    from bench.new_plugin import write_plugin

    files, command = write_plugin(name, kind, into or Path("." if kind == "package" else "plugins"))
    if as_json:
        print_json({"files": list(map(str, files)), "next": command})
        return
    say("\n".join(f"wrote {file}" for file in files))
    say(f"\nIt runs as it is:\n\n    {command}")


def check_plugin(
    name: Annotated[
        str,
        typer.Argument(
            help="A plugin, its file or package, or one thing that it adds.",
            autocompletion=completing.plugins,
            metavar="NAME|FILE|PACKAGE",
        ),
    ],
    plugins: Plugins = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Hold a plugin against the contract, on real inputs: what it adds is built, run, trained and measured."""
    from dataclasses import asdict

    from bench import api
    from bench.cli.progress import watch

    with watch(quiet or as_json) as tell:
        found = api.check_plugin(name, plugins=tuple(plugins or ()), tell=tell)
    sound = all(one.ok is not False for findings in found.values() for one in findings)
    if as_json:
        print_json([{**asdict(part), "findings": list(map(asdict, own))} for part, own in found.items()])
        return 0 if sound else 1
    for part, findings in found.items():
        say(f"{part.kind} {part.name}")
        say("\n".join(f"  {SIGNS[one.ok]} {one.what}" + (f": {one.said}" if one.said else "") for one in findings))
    crosses = sum(one.ok is False for findings in found.values() for one in findings)
    say("\nas the contract wants it" if sound else f"\n{crosses} to mend: ✗ says what")
    return 0 if sound else 1

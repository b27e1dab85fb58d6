"""The command for whoever writes a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Json
from bench.cli.printing import print_json, say

KINDS = "model|extension|dataset|measurement|runtime|package"


def new_plugin(
    name: Annotated[str, typer.Argument(help="What it adds is called so.")],
    kind: Annotated[str, typer.Option(help="What it adds; package: an installable project.", metavar=KINDS)] = "model",
    into: Annotated[
        Path | None, typer.Option(help="The folder.  [default: plugins; of a package: the working directory]")
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

"""The commands: parse, call, print. Nothing heavy is imported here, so that listing is instant."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import __version__
from bench.cli import authoring, listing, results, run

app = typer.Typer(
    name="bench",
    help="Trains image models under one protocol and measures accuracy, compute, memory and time.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Benchmarks image models under one protocol."""
    if show:
        print(f"bench {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


for command in (
    run.run,
    run.measure,
    run.profile,
    results.report,
    results.compare,
    results.recommend,
    results.export,
    listing.models,
    listing.extensions,
    listing.datasets,
    listing.protocols,
    listing.plugins,
    listing.cache,
    authoring.new_plugin,
    authoring.check_plugin,
    run.doctor,
):
    app.command()(command)

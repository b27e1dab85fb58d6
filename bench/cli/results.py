"""The commands that answer from a results folder: compare and recommend. Nothing heavy is imported here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option(help="The results folder.", metavar="DIR")]
Protocol = Annotated[str | None, typer.Option(help="Only this comparison: its folder's name.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output.")]


def compare(
    a: Annotated[str, typer.Argument(help="A model of the results, or a results folder: what was.")],
    b: Annotated[str, typer.Argument(help="Another one: what is.")],
    results: Results = Path("results"),
    protocol: Protocol = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            help="How much worse B may be: a share (default 0.05; accuracy 0.5 points); named quantities are judged "
            "alone.",
            metavar="NUMBER|QUANTITY=NUMBER,…",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare two models or two results folders; exit status 1 where B is worse, beyond tolerance and noise."""
    from bench.report.judge.compare import compare as compare_results
    from bench.report.tables.answers import compare_text

    compared, notes = compare_results(a, b, results=results, protocol=protocol, tolerance=tolerance or ())
    worse = any(one.worse for one in compared)
    if as_json:
        document = {"worse": worse, "compared": [one.to_json() for one in compared], "notes": notes}
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        print(compare_text(compared, notes))
    return 1 if worse else 0


def recommend(
    least: Annotated[
        list[str] | None, typer.Option("--min", help="The least that a quantity may be.", metavar="QUANTITY=VALUE")
    ] = None,
    most: Annotated[
        list[str] | None, typer.Option("--max", help="The most that a quantity may be.", metavar="QUANTITY=VALUE")
    ] = None,
    results: Results = Path("results"),
    protocol: Protocol = None,
    as_json: Json = False,
) -> int:
    """Name the models within limits, best first, and why each other is left out; exit status 1 where there is none."""
    from bench.report.judge.recommend import recommend as recommend_models
    from bench.report.judge.recommend import recommend_text

    found, damaged = recommend_models(results, least=least or (), most=most or (), protocol=protocol)
    for line in damaged:
        print(line, file=sys.stderr)
    if as_json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        print(recommend_text(found))
    return 0 if found.chosen else 1


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(compare)
    app.command()(recommend)

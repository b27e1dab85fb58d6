"""The commands that answer from a results folder: report, compare, recommend, export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import RESULTS, Comparison, Json, Plugins, Quiet, Results
from bench.cli.printing import print_json, say, warn


def report(
    results: Results = RESULTS,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is not as the records give it; exit status 1 if anything.")
    ] = False,
    plugins: Plugins = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Make tables, figures and pages from the records, and marked sections of *.md here and in DIR; or check them."""
    from bench import api
    from bench.cli.progress import watch

    if check:
        with watch(quiet) as tell:
            checked = api.check_report(results, plugins=plugins or (), tell=tell)
        warn(checked.damaged)
        if as_json:
            print_json(checked.to_json())
        else:
            say("\n".join(map(str, checked.problems)) or f"{checked.files} files are what the records give")
        return 1 if checked.problems or checked.damaged else 0
    with watch(quiet) as tell:
        outcome = api.report(results, plugins=plugins or (), tell=tell)
    warn(outcome.damaged)
    warn(f"{results / path}: cannot be made: {why}" for path, why in outcome.failed.items())
    if as_json:
        print_json(asdict(outcome))
    elif not quiet:
        say(outcome)
    return 1 if outcome.failed or outcome.damaged else 0


def compare(
    a: Annotated[str, typer.Argument(help="A model of the results, or a results folder: what was.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Another one: what is.", metavar="B")],
    results: Results = RESULTS,
    protocol: Comparison = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            help="How much worse B may be: a share (default 0.05, times 0.1; accuracy 0.5 points); named quantities "
            "are judged alone.",
            metavar="NUMBER|QUANTITY=NUMBER,…",
        ),
    ] = None,
    times: Annotated[bool, typer.Option("--times", help="Judge times, too, of sessions that timed both.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 where it cannot be told, too.")] = False,
    as_json: Json = False,
) -> int:
    """Compare two models or two results folders: worse (exit status 1), not worse (0), or cannot tell (0, a warning).

    Judged are counted quantities, and accuracy over common seeds; times with --times.
    """
    from bench.report.judge.change import gravest
    from bench.report.judge.compare import compare as compare_results
    from bench.report.tables.answers import compare_text

    compared, notes = compare_results(a, b, results=results, protocol=protocol, tolerance=tolerance or (), times=times)
    outcome = gravest(one.outcome for one in compared)
    if outcome == "cannot tell":
        warn(["it cannot be told whether all is as good; see what would decide it, or use --strict to let that fail"])
    if as_json:
        print_json({"outcome": outcome, "compared": [one.to_json() for one in compared], "notes": notes})
    else:
        say(compare_text(compared, notes))
    return 1 if outcome == "worse" or (strict and outcome == "cannot tell") else 0


def recommend(
    least: Annotated[
        list[str] | None, typer.Option("--min", help="The least that a quantity may be.", metavar="QUANTITY=VALUE")
    ] = None,
    most: Annotated[
        list[str] | None, typer.Option("--max", help="The most that a quantity may be.", metavar="QUANTITY=VALUE")
    ] = None,
    results: Results = RESULTS,
    protocol: Comparison = None,
    as_json: Json = False,
) -> int:
    """Name the models within limits, best first, and why each other is left out; exit status 1 where there is none."""
    from bench.report.judge.recommend import recommend as recommend_models
    from bench.report.tables.answers import recommend_text

    found, damaged = recommend_models(results, least=least or (), most=most or (), protocol=protocol)
    warn(damaged)
    if as_json:
        print_json(found.to_json())
    else:
        say(recommend_text(found))
    return 0 if found.chosen else 1


def export(
    to: Annotated[Path, typer.Option(help="A file whose name ends in .csv or .parquet.", metavar="FILE")],
    results: Results = RESULTS,
) -> None:
    """Write all records as one table, a row a trial."""
    from bench.records.frame import export as write_export

    rows, damaged = write_export(results, to)
    warn(damaged)
    say(f"{rows} trials: {to}")

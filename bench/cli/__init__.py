"""The commands: parse, call, print. Nothing heavy is imported here, so that listing is instant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import __version__
from bench.cli import results as report_commands

app = typer.Typer(
    name="bench",
    help="Trains image models under one protocol and measures accuracy, compute, memory and time.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output.")]
Plugins = Annotated[list[Path] | None, typer.Option("--plugins", help="A further folder of plugins.", metavar="DIR")]


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


@app.command()
def run(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models: NAME, NAME:key=value,… or timm/NAME.", metavar="[MODEL]...")
    ] = None,
    all_models: Annotated[bool, typer.Option("--all", help="All models that the protocol does not leave out.")] = False,
    protocol: Annotated[
        str | None,
        typer.Option(help="Name or TOML file of a protocol; by default cifar10 with CUDA, else quick.", metavar="NAME"),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Another dataset than the protocol's.", metavar="NAME|folder:DIR")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seeds to run instead of the protocol's.", min=0)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    results: Annotated[Path, typer.Option(help="Where results go.", metavar="DIR")] = Path("results"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting of the protocol.", metavar="KEY=VALUE")
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="A file of pretrained weights for a model.", metavar="MODEL=FILE")
    ] = None,
    plugins: Plugins = None,
    frozen_prefix: Annotated[
        bool, typer.Option(help="Compute a frozen part's features once, or anew at every epoch.")
    ] = True,
    feature_memory: Annotated[
        float | None,
        typer.Option(help="Most memory for those features, else a file; default: half of what is free.", metavar="GB"),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Train through torch.compile.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Stop a trial after so many seconds.", min=1)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what is already recorded.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the table.")] = False,
    as_json: Json = False,
) -> int:
    """Train models under one protocol and leave a results table."""
    from bench.cli.progress import watch
    from bench.report.tables.comparison import run_text
    from bench.request import RunOptions
    from bench.run import sweep

    with watch(quiet) as tell:
        outcome = sweep.run(
            models or (),
            all_models=all_models,
            protocol=protocol,
            data=data,
            seeds=seed or (),
            device=device,
            results=results,
            overrides=settings or (),
            weights=weights or (),
            plugin_folders=plugins or (),
            options=RunOptions(frozen_prefix, None if feature_memory is None else int(feature_memory * 1e9), compiled),
            fresh=fresh,
            timeout=timeout,
            tell=tell,
        )
    if as_json:
        _print_json(sweep.to_json(outcome))
    else:
        print(f"\n{run_text(outcome.folder, outcome.records)}")
        print(f"\nRecords and tables: {outcome.folder}")
    return 0 if outcome.ok else 1


@app.command()
def measure(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models: NAME, NAME:key=value,… or timm/NAME.", metavar="[MODEL]...")
    ] = None,
    all_models: Annotated[bool, typer.Option("--all", help="All registered models.")] = False,
    image_size: Annotated[int, typer.Option(help="Side of the images in pixels.", min=8)] = 224,
    classes: Annotated[int, typer.Option(help="Classes of the last layer.", min=2)] = 1000,
    batch: Annotated[
        list[int] | None, typer.Option(help="Batch sizes of inference; by default growing up to the best.", min=1)
    ] = None,
    train_batch: Annotated[int, typer.Option(help="Batch size of a training step.", min=2)] = 8,
    only: Annotated[list[str] | None, typer.Option(help="Only this quantity; see below.", metavar="QUANTITY")] = None,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds of latency.", min=6)] = 24,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    channels_last: Annotated[bool, typer.Option(help="Inference in channels-last order, as in trials.")] = True,
    compile_: Annotated[bool, typer.Option("--compile", help="Inference through torch.compile.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    results: Annotated[Path, typer.Option(help="Where results go.", metavar="DIR")] = Path("results"),
    plugins: Plugins = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the table.")] = False,
    as_json: Json = False,
) -> int:
    """Measure models without training them: macs, memory, latency, throughput, step, profile, energy."""
    from bench.cli.progress import watch
    from bench.report.tables.measurements import explained, write_measure_page
    from bench.run import measuring as measurements

    with watch(quiet) as tell:
        found = measurements.measure(
            models or (),
            all_models=all_models,
            image_size=image_size,
            classes=classes,
            batches=batch or (),
            train_batch=train_batch,
            only=only or (),
            rounds=rounds,
            precision=precision,
            channels_last=channels_last,
            compiled=compile_,
            device=device,
            results=results,
            plugin_folders=plugins or (),
            tell=tell,
        )
    write_measure_page(results / "measure")
    if as_json:
        _print_json([one.model_dump(mode="json") for one in found])
    else:
        print(f"\n{explained(found)}\n\nMeasurements and this table: {results / 'measure'}")
    return 0 if all(one.status == "ok" for one in found) else 1


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="The folder with the records.", metavar="DIR")] = Path("results"),
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is not as the records give it; exit status 1 if anything.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only what went wrong.")] = False,
    as_json: Json = False,
) -> int:
    """Make tables, figures and pages from the records, and marked sections of *.md here and in DIR; or check them."""
    from bench.report.make.report import check as check_report
    from bench.report.make.report import report as make_report

    if check:
        checked = check_report(results)
        _warn(checked.damaged)
        if as_json:
            _print_json(checked.to_json())
        else:
            print("\n".join(map(str, checked.problems)) or f"{checked.files} files are what the records give")
        return 1 if checked.problems else 0
    outcome = make_report(results, quiet)
    _warn(outcome.damaged)
    _warn(f"{results / path}: cannot be made: {why}" for path, why in outcome.failed.items())
    if as_json:
        _print_json(asdict(outcome))
    elif not quiet:
        print(outcome)
    return 1 if outcome.failed else 0


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="A file whose name ends in .csv or .parquet.", metavar="FILE")],
    results: Annotated[Path, typer.Option(help="The folder with the records.", metavar="DIR")] = Path("results"),
) -> None:
    """Write all records as one table, a row a trial."""
    from bench.records.frame import export as write_export

    rows, damaged = write_export(results, to)
    _warn(damaged)
    print(f"{rows} trials: {to}")


@app.command()
def profile(
    model: Annotated[str, typer.Argument(help="NAME, NAME:key=value,… or timm/NAME.")],
    image_size: Annotated[int, typer.Option(help="Side of the images in pixels.", min=8)] = 224,
    train_batch: Annotated[int, typer.Option(help="Batch size of the training steps.", min=2)] = 8,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    results: Annotated[Path, typer.Option(help="Where the trace goes.", metavar="DIR")] = Path("results"),
    plugins: Plugins = None,
    as_json: Json = False,
) -> int:
    """Profile a few training steps of a model, and say how to look at the trace."""
    from bench.cli.progress import watch
    from bench.report.tables.measurements import profile_text
    from bench.run import measuring as measurements

    with watch(quiet=False) as tell:
        (found,) = measurements.measure(
            [model],
            image_size=image_size,
            train_batch=train_batch,
            only=["profile"],
            precision=precision,
            device=device,
            results=results,
            plugin_folders=plugins or (),
            tell=tell,
        )
    if as_json:
        _print_json(found.model_dump(mode="json"))
    else:
        print(f"\n{profile_text(found)}\n\nTo look at the trace: tensorboard --logdir {results}")
    return 0 if found.status == "ok" else 1


@app.command()
def doctor(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto", as_json: Json = False
) -> None:
    """Show this machine as records will describe it, and what is missing for which command."""
    from bench.run.executors.local import call

    *_, (environment, findings) = call("bench.run.untrained:examine", device)
    if as_json:
        _print_json({"environment": environment, "missing": findings})
        return
    for key, value in environment.items():
        print(f"{key}: {'not known' if value is None else value}")
    for finding in findings:
        print(
            f"\nmissing: {finding['missing']}\n  affects: {finding['affects']}\n  fix: {finding['fix'] or 'none here'}"
        )
    if not findings:
        print("\nnothing is missing")


@app.command("models")
def list_models(
    trainable: Annotated[
        str | None, typer.Option(help="Show which layers of this model train under the protocol.", metavar="MODEL")
    ] = None,
    protocol: Annotated[str, typer.Option(help="The protocol for --trainable.", metavar="NAME|FILE")] = "cifar10",
    classes: Annotated[int, typer.Option(help="How many classes the head has, for --trainable.", min=2)] = 10,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting of the protocol.", metavar="KEY=VALUE")
    ] = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """List the models that can be run, or show which layers of one train."""
    registry = _registry(plugins)
    if trainable is not None:
        _print_layers(registry.model(trainable), protocol, settings or (), classes, as_json)
        return
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "family": spec.family,
            "options": spec.options(),
            "plugin": plugin.name,
            "source": spec.source,
        }
        for name, (spec, plugin) in registry.models.items()
    ]
    _print_list(rows, as_json)
    if not as_json:
        print("\nAny timm model: timm/NAME. Options: NAME:key=value,key=value.")


@app.command("datasets")
def list_datasets(plugins: Plugins = None, as_json: Json = False) -> None:
    """List the datasets that can be used."""
    registry = _registry(plugins)
    rows = [
        {"name": name, "plugin": plugin.name, "source": spec.source}
        for name, (spec, plugin) in registry.datasets.items()
    ]
    _print_list(rows, as_json)


@app.command("protocols")
def list_protocols(
    show: Annotated[str | None, typer.Argument(help="Print this protocol's settings.", metavar="[NAME|FILE]")] = None,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting that a protocol can have.")] = False,
    as_json: Json = False,
) -> None:
    """List the protocols, or show one with all its settings."""
    from bench.protocol import load_protocol, protocol_files, setting_names

    if settings:
        names = list(setting_names())
        print(json.dumps(names) if as_json else "\n".join(names))
    elif show is not None:
        import tomli_w

        one = load_protocol(show)
        whole = {"name": one.name, "description": one.description, **one.settings(), "exclude": one.exclude}
        if as_json:
            _print_json({**whole, "fingerprint": one.fingerprint})
        else:
            print(tomli_w.dumps(whole) + f"\n# fingerprint {one.fingerprint}")
    else:
        rows = []
        for name in protocol_files():
            one = load_protocol(name)
            fingerprint = one.fingerprint if as_json else one.fingerprint[:12]
            rows.append({"name": name, "fingerprint": fingerprint, "description": one.description})
        _print_list(rows, as_json)


@app.command("plugins")
def list_plugins(plugins: Plugins = None, as_json: Json = False) -> None:
    """List the plugins found, what each adds, and what went wrong with any."""
    registry = _registry(plugins)
    rows = [
        {
            "name": name,
            "place": plugin.place,
            "models": [model for model, (_, owner) in registry.models.items() if owner == plugin],
            "datasets": [dataset for dataset, (_, owner) in registry.datasets.items() if owner == plugin],
        }
        for name, plugin in registry.plugins.items()
    ]
    if as_json:
        _print_json({"plugins": rows, "problems": registry.problems})
    else:
        _print_list(rows, as_json)
        for problem in registry.problems:
            print(problem, file=sys.stderr)


report_commands.add_to(app)


def _print_layers(model: Any, protocol: str, overrides: Sequence[str], classes: int, as_json: bool) -> None:
    from bench.models.classifier import build_weightless
    from bench.models.freezing import freeze, layers
    from bench.protocol import load_protocol

    loaded = load_protocol(protocol, overrides)
    classifier = build_weightless(model, loaded, classes)
    freeze(classifier, loaded.train.what, model.last_block, model.name)
    found = list(layers(classifier))
    trained, total = sum(one.parameters for one in found if one.trains), sum(one.parameters for one in found)
    if as_json:
        counts = {"parameters": total, "trainable_parameters": trained}
        _print_json(
            {"model": model.name, "what": loaded.train.what, **counts, "layers": [asdict(one) for one in found]}
        )
        return
    _print_list(
        [
            {
                "layer": one.name,
                "kind": one.kind,
                "parameters": f"{one.parameters:,}",
                "state": "trained" if one.trains else "frozen",
            }
            for one in found
        ],
        as_json=False,
    )
    print(f"\n{model.name}, {loaded.train.what}: {trained:,} of {total:,} parameters train.")


def _registry(folders: list[Path] | None) -> Any:
    from bench.plugins import load_plugins

    return load_plugins(folders or ())


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=1, allow_nan=False))


def _print_list(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows as JSON, or as a table with lists and options written out."""
    if as_json:
        _print_json(rows)
        return
    from tabulate import tabulate

    def written(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key}={default}" for key, default in value.items())
        return ", ".join(value) if isinstance(value, list) else str(value)

    table = [{key: written(value) for key, value in row.items()} for row in rows]
    print(tabulate(table, headers="keys", disable_numparse=True) if table else "none")

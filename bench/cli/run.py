"""The commands that compute: run, measure, profile, doctor. They import torch elsewhere, never here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import completing
from bench.cli.helping import HOW, LEFT, WHAT, WHERE
from bench.cli.options import (
    RESULTS,
    Device,
    ImageSize,
    Json,
    Models,
    Plugins,
    Precision,
    Quiet,
    Results,
    Settings,
    TrainBatch,
    listed,
)
from bench.cli.printing import print_json, say

if TYPE_CHECKING:
    from bench.request import Place


def run(
    models: Models = None,
    all_models: Annotated[
        bool, typer.Option("--all", help="All models that the protocol does not leave out.", rich_help_panel=WHAT)
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Name or TOML file of a protocol; by default cifar10 with CUDA, else quick.",
            metavar="NAME",
            rich_help_panel=WHAT,
            autocompletion=completing.protocols,
        ),
    ] = None,
    extensions: Annotated[
        list[str] | None,
        typer.Option(
            help="Run each model as it is, and with each of these that fits; several, one after another.",
            metavar="EXTENSION...",
            rich_help_panel=WHAT,
            autocompletion=completing.extensions,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Another dataset than the protocol's.",
            metavar="NAME|folder:DIR",
            rich_help_panel=WHAT,
            autocompletion=completing.datasets,
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            help="Seeds to run instead of the protocol's.", min=0, max=2**63 - 1, rich_help_panel=WHAT, metavar="N"
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="The same as a list with ranges, such as 0-4 or 0,3,7-9.", metavar="LIST", rich_help_panel=WHAT
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Add seeds until a mean is known to within so much: accuracy=0.5.",
            metavar="QUANTITY=WIDTH",
            rich_help_panel=WHAT,
        ),
    ] = None,
    max_seeds: Annotated[
        int, typer.Option(help="No model gets more seeds by --until.", min=1, rich_help_panel=WHAT, metavar="N")
    ] = 20,
    device: Device = "auto",
    results: Results = RESULTS,
    settings: Settings = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="A file of pretrained weights for a model.", metavar="MODEL=FILE", rich_help_panel=WHAT),
    ] = None,
    plugins: Plugins = None,
    frozen_prefix: Annotated[
        bool, typer.Option(help="Compute a frozen part's features once, or anew at every epoch.", rich_help_panel=HOW)
    ] = True,
    picture_memory: Annotated[
        float | None,
        typer.Option(
            help="Most memory for a trial's pictures, else the disk; default: half of what is free.",
            metavar="GB",
            min=0,
            rich_help_panel=HOW,
        ),
    ] = None,
    feature_memory: Annotated[
        float | None,
        typer.Option(
            help="Most memory for those features, else a file; default: half of what is free.",
            metavar="GB",
            rich_help_panel=HOW,
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train through torch.compile.", rich_help_panel=HOW)
    ] = False,
    compile_mode: Annotated[
        str,
        typer.Option(
            help="Train through torch.compile in this mode.",
            metavar="default|reduce-overhead|max-autotune",
            rich_help_panel=HOW,
        ),
    ] = "default",
    graphs: Annotated[
        bool,
        typer.Option(
            help="On a CUDA GPU, replay training steps as one graph, or start their kernels singly.",
            rich_help_panel=HOW,
        ),
    ] = True,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Only kernels that always give the same: slower, repeats to the bit.",
            rich_help_panel=HOW,
        ),
    ] = False,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit", help="Compute batches that do not fit in parts, with the same update.", rich_help_panel=HOW
        ),
    ] = False,
    keep_weights: Annotated[
        bool, typer.Option(help="Keep the trained weights beside each record, or not.", rich_help_panel=LEFT)
    ] = True,
    timing: Annotated[
        bool, typer.Option(help="At the end, time all finished models side by side, or not.", rich_help_panel=LEFT)
    ] = True,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            help="Measure this, too, of what is only measured on request: robustness.",
            metavar="QUANTITY",
            rich_help_panel=LEFT,
            autocompletion=completing.measurements,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            help="Where trials run; `plugins` lists the executors.",
            metavar="NAME",
            rich_help_panel=WHERE,
            autocompletion=completing.executors,
        ),
    ] = "local",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            help="Trials at once; default: one on each accelerator, else one.",
            min=1,
            rich_help_panel=WHERE,
            metavar="N",
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="With --executor ray: the cluster; default: one of this machine, for the time of the run.",
            metavar="auto|HOST:PORT",
            rich_help_panel=WHERE,
        ),
    ] = None,
    cpus_per_trial: Annotated[
        int | None,
        typer.Option(
            help="CPUs, and threads, of each trial in a cluster.  [default: 1]",
            min=1,
            rich_help_panel=WHERE,
            metavar="N",
        ),
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            help="GPUs of each trial in a cluster, or a part of one.  [default: 1 where it has any]",
            min=0,
            rich_help_panel=WHERE,
            metavar="N",
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            help="How often a trial whose process died is tried again, from its last checkpoint.  "
            "[default: 2 where its machine is lost, else 0]",
            min=0,
            rich_help_panel=WHERE,
            metavar="N",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Stop a trial after so many seconds.", min=1, rich_help_panel=WHERE, metavar="SECONDS"),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Only say what would run, how long it takes and what memory it needs.", rich_help_panel=LEFT
        ),
    ] = False,
    gpus: Annotated[
        int | None,
        typer.Option(help="With --plan: as if there were so many devices.", min=1, rich_help_panel=LEFT, metavar="N"),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run again what is already recorded.", rich_help_panel=WHAT)
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Train models under one protocol and leave a results table."""
    from bench import api
    from bench.cli.planned import plan_text
    from bench.cli.progress import watch
    from bench.errors import RequestError
    from bench.report.tables.comparison import run_text
    from bench.request import COMPILE_MODES, Place, RunOptions, RunRequest

    request = RunRequest(
        models=tuple(models or ()),
        all_models=all_models,
        protocol=protocol,
        overrides=tuple(settings or ()),
        data=data,
        seeds=(*(seed or ()), *listed(seeds or "")),
        until=until,
        max_seeds=max_seeds,
        weights=tuple(weights or ()),
        extensions=tuple(extensions or ()),
        fresh=fresh,
        timeout=timeout,
        retries=retries,
        jobs=jobs,
        ray_address=ray_address,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        options=RunOptions(
            frozen_prefix=frozen_prefix,
            picture_memory=None if picture_memory is None else int(picture_memory * 1e9),
            feature_memory=None if feature_memory is None else int(feature_memory * 1e9),
            compile=compiled or compile_mode != COMPILE_MODES[0],
            compile_mode=compile_mode,
            graphs=graphs,
            deterministic=deterministic,
            fit=fit,
            keep_weights=keep_weights,
            timing=timing,
            measure=tuple(also or ()),
            executor=executor,
        ),
        place=Place(results, device, tuple(plugins or ())),
    )
    if gpus is not None and not plan:
        raise RequestError("--gpus is for --plan; --jobs says how many trials run at once")
    if plan:
        with watch(quiet) as tell:
            found = api.plan(request, gpus=gpus, tell=tell)
        print_json(found.to_json()) if as_json else say(f"\n{plan_text(found)}")
        return 0
    with watch(quiet) as tell:
        outcome = api.run(request, tell=tell)
    if as_json:
        print_json(outcome.to_json())
    else:
        say(f"\n{run_text(outcome.trials)}")
        say(f"\nRecords and tables: {outcome.folder}")
    return 0 if outcome.ok else 1


def measure(
    context: typer.Context,
    models: Models = None,
    all_models: Annotated[bool, typer.Option("--all", help="All registered models.", rich_help_panel=WHAT)] = False,
    of: Annotated[
        Path | None,
        typer.Option(
            help="Time the trained models of these results side by side, once more; sessions add up.",
            metavar="RESULTS",
            rich_help_panel=WHAT,
        ),
    ] = None,
    extension: Annotated[
        list[str] | None,
        typer.Option(
            help="Apply it to the trained model of a finished trial, whose folder is named in place of a model.",
            metavar="EXTENSION",
            rich_help_panel=WHAT,
            autocompletion=completing.extensions,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Where that trial's pictures are, of a folder.", metavar="NAME|folder:DIR", rich_help_panel=WHAT
        ),
    ] = None,
    timing: Annotated[
        bool, typer.Option(help="With --extension: time it beside the trained model, or not.", rich_help_panel=WHAT)
    ] = True,
    image_size: ImageSize = 224,
    classes: Annotated[
        int, typer.Option(help="Classes of the last layer.", min=2, rich_help_panel=HOW, metavar="N")
    ] = 1000,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            help="Batch sizes of inference; by default growing up to the best.", min=1, rich_help_panel=HOW, metavar="N"
        ),
    ] = None,
    train_batch: TrainBatch = 8,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this quantity; see below.",
            metavar="QUANTITY",
            rich_help_panel=WHAT,
            autocompletion=completing.measurements,
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="Interleaved rounds of latency.", min=6, rich_help_panel=HOW, metavar="N")
    ] = 24,
    precision: Precision = "fp32",
    channels_last: Annotated[
        bool, typer.Option(help="Inference in channels-last order, as in trials.", rich_help_panel=HOW)
    ] = True,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Through torch.compile, inference and training.", rich_help_panel=HOW)
    ] = False,
    device: Device = "auto",
    results: Results = RESULTS,
    plugins: Plugins = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Measure models without training them: macs, memory, latency, throughput, step, profile, energy, robustness.

    With --of: time trained models side by side, as they were trained. With --extension: FOLDER of a finished trial
    in place of a model; its weights are tested and measured with the extension, without training. FOLDER with --only:
    robustness, or what a plugin measures, of a finished trial, into its record.
    """
    from bench import api
    from bench.cli.progress import watch
    from bench.records.record import NAME as RECORD
    from bench.report.tables.measurements import explained
    from bench.request import MeasureRequest, Place

    if of is not None:
        return _time_together(context, of, models or [], Place(of, device, tuple(plugins or ())), quiet, as_json)
    if extension:
        _refuse_others(context, WITH_EXTENSION, "--extension tests a trained model as it was trained; leave it out")
        place = Place(results, device, tuple(plugins or ()))
        return _apply(models or [], extension, data, timing, place, quiet, as_json)
    if any((Path(one) / RECORD).is_file() for one in models or ()):
        _refuse_others(context, WITH_FOLDERS, "a finished trial is measured as it was trained; leave it out")
        place = Place(results, device, tuple(plugins or ()))
        return _measure_trials(models or [], only or [], data, place, quiet, as_json)
    request = MeasureRequest(
        models=tuple(models or ()),
        all_models=all_models,
        image_size=image_size,
        classes=classes,
        batches=tuple(batch or ()),
        train_batch=train_batch,
        only=tuple(only or ()),
        rounds=rounds,
        precision=precision,
        channels_last=channels_last,
        compile=compiled,
        place=Place(results, device, tuple(plugins or ())),
    )
    with watch(quiet) as tell:
        found = api.measure(request, tell=tell)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        say(f"\n{explained(found)}\n\nMeasurements and this table: {results / 'measure'}")
    return 0 if all(one.status == "ok" for one in found) else 1


WITH_OF = {"models", "of", "device", "plugins", "quiet", "as_json"}
WITH_EXTENSION = {"models", "extension", "data", "timing", "device", "plugins", "quiet", "as_json"}
WITH_FOLDERS = {"models", "only", "data", "device", "plugins", "quiet", "as_json"}


def _refuse_others(context: typer.Context, known: set[str], why: str) -> None:
    """RequestError for an option that was given, and is not among those known."""
    from bench.errors import RequestError

    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name not in known and source is not None and source.name == "COMMANDLINE":
            raise RequestError(f"{option.opts[-1]}: {why}")


def _apply(
    folders: list[str], extensions: list[str], data: str | None, timing: bool, place: Place, quiet: bool, as_json: bool
) -> int:
    from bench import api
    from bench.cli.progress import watch
    from bench.errors import RequestError
    from bench.report.tables.extensions import extensions_json, extensions_text

    if not folders:
        raise RequestError("name the folder of a finished trial, such as results/quick/vit_tiny/seed0")
    with watch(quiet) as tell:
        found = api.apply_extensions(folders, extensions, data=data, timing=timing, place=place, tell=tell)
    if as_json:
        print_json([one for comparison in found for one in extensions_json(comparison)])
    else:
        say("\n" + "\n\n".join(extensions_text(one) for one in found))
    return 0


def _measure_trials(
    folders: list[str], only: list[str], data: str | None, place: Place, quiet: bool, as_json: bool
) -> int:
    from bench import api
    from bench.cli.progress import watch
    from bench.errors import RequestError
    from bench.report.tables.comparison import run_text

    if not only:
        raise RequestError("say what to measure of a finished trial, such as --only robustness")
    with watch(quiet) as tell:
        trials, problems = api.measure_trials(folders, only, data=data, place=place, tell=tell)
    if as_json:
        print_json([one.record.to_json() for one in trials])
    else:
        say(f"\n{run_text(trials)}")
    return 1 if problems else 0


def _time_together(
    context: typer.Context, of: Path, models: list[str], place: Place, quiet: bool, as_json: bool
) -> int:
    from bench import api
    from bench.cli.progress import watch
    from bench.report.tables.times import times_json, times_text

    _refuse_others(context, WITH_OF, "--of times models as they were trained; leave it out")
    with watch(quiet) as tell:
        found, problems = api.time_together(of, models, place=place, tell=tell)
    if as_json:
        print_json([times_json(one) for one in found])
    else:
        say("\n" + "\n\n".join(times_text(one) for one in found))
    return 1 if problems else 0


def profile(
    model: Annotated[
        str,
        typer.Argument(help="NAME, NAME:key=value,… or timm/NAME.", metavar="MODEL", autocompletion=completing.models),
    ],
    image_size: ImageSize = 224,
    train_batch: TrainBatch = 8,
    precision: Precision = "fp32",
    device: Device = "auto",
    results: Results = RESULTS,
    plugins: Plugins = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Profile a few training steps of a model, and say how to look at the trace."""
    from bench import api
    from bench.cli.progress import watch
    from bench.report.tables.measurements import profile_text
    from bench.request import MeasureRequest, Place

    request = MeasureRequest(
        models=(model,),
        image_size=image_size,
        train_batch=train_batch,
        only=("profile",),
        precision=precision,
        place=Place(results, device, tuple(plugins or ())),
    )
    with watch(quiet) as tell:
        (found,) = api.measure(request, tell=tell)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        say(f"\n{profile_text(found)}\n\nTo look at the trace: tensorboard --logdir {results}")
    return 0 if found.status == "ok" else 1


def doctor(device: Device = "auto", as_json: Json = False) -> None:
    """Show this machine as records will describe it, and what is missing for which command."""
    from bench import api

    environment, findings = api.doctor(device)
    if as_json:
        print_json({"environment": environment, "missing": findings})
        return
    for key, value in environment.items():
        say(f"{key}: {'not known' if value is None else value}")
    for finding in findings:
        say(f"\nmissing: {finding['missing']}\n  affects: {finding['affects']}\n  fix: {finding['fix'] or 'none here'}")
    if not findings:
        say("\nnothing is missing")

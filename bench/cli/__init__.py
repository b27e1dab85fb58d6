"""The commands: parse, call, print. Nothing heavy is imported here, so that listing is instant."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import __version__
from bench.cli import authoring, listing, results, run
from bench.cli.helping import Command, Commands, examples

app = typer.Typer(
    name="bench",
    cls=Commands,
    help="Trains image models under one protocol and measures accuracy, compute, memory and time.",
    epilog=examples("run --all", "run vit_tiny densenet121 --seeds 0-2", "report", "COMMAND --help"),
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
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


TRAIN, ANSWER, LIST, EXTEND = "Train and measure", "Answers from results", "What there is", "Plugins and this machine"
for group, command, shown in (
    (
        TRAIN,
        run.run,
        examples(
            "run --all",
            "run vgg19 vit_tiny:patch_size=8 timm/resnet18 --seeds 0-2",
            "run vit_tiny+token_merging:r=1 --set train.epochs=20",
            "run --all --extensions token_learner token_merging",
            "run --all --data folder:pictures --protocol cifar10",
            "run --all --plan",
            "run --all --executor ray --ray-address auto",
        ),
    ),
    (
        TRAIN,
        run.measure,
        examples(
            "measure vit_tiny densenet121 --image-size 224",
            "measure --all --only macs --only memory",
            "measure --of results",
            "measure results/quick/vit_tiny/seed0 --extension token_merging",
        ),
    ),
    (TRAIN, run.profile, examples("profile vit_tiny", "profile timm/resnet18 --device cuda --precision bf16")),
    (ANSWER, results.report, examples("report", "report --results elsewhere", "report --check")),
    (
        ANSWER,
        results.compare,
        examples(
            "compare vit_tiny densenet121",
            "compare before after --tolerance accuracy=1,memory=0.1",
            "compare before after --times --strict",
        ),
    ),
    (
        ANSWER,
        results.recommend,
        examples("recommend --max latency_ms=10 --max params=6M", "recommend --min accuracy=95"),
    ),
    (ANSWER, results.export, examples("export --to results.csv", "export --to results.parquet --results elsewhere")),
    (LIST, listing.models, examples("models", "models --json", "models --trainable vit_tiny --protocol cifar10")),
    (LIST, listing.extensions, examples("extensions")),
    (LIST, listing.datasets, examples("datasets")),
    (LIST, listing.protocols, examples("protocols", "protocols quick", "protocols --settings")),
    (LIST, listing.plugins, examples("plugins", "plugins --plugins mine")),
    (LIST, listing.cache, examples("cache", "cache --clear digits")),
    (EXTEND, authoring.new_plugin, examples("new-plugin mine", "new-plugin faster --kind extension")),
    (
        EXTEND,
        authoring.check_plugin,
        examples("check-plugin mine", "check-plugin plugins/mine.py", "check-plugin vit_tiny"),
    ),
    (EXTEND, run.doctor, examples("doctor", "doctor --device cuda --json")),
):
    app.command(cls=Command, rich_help_panel=group, epilog=shown)(command)

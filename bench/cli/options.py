"""The options that several commands have, each declared once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import completing
from bench.cli.helping import HOW, LEFT, WHAT, WHERE

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", metavar="DEVICE", rich_help_panel=WHERE)]
Results = Annotated[Path, typer.Option(help="The results folder.", metavar="DIR", rich_help_panel=LEFT)]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugins", help="A further folder of plugins.", metavar="DIR", rich_help_panel=WHERE),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only what comes of it.", rich_help_panel=LEFT)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output.", rich_help_panel=LEFT)]
Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Models: NAME, NAME:key=value,… or timm/NAME, each with any +EXTENSION:key=value,… behind it.",
        metavar="MODEL",
        autocompletion=completing.models,
    ),
]
ImageSize = Annotated[int, typer.Option(help="Side of the images in pixels.", min=8, metavar="N", rich_help_panel=HOW)]
TrainBatch = Annotated[
    int, typer.Option(help="Batch size of a training step.", min=2, metavar="N", rich_help_panel=HOW)
]
Precision = Annotated[str, typer.Option(help="fp32, tf32 (NVIDIA), bf16 or fp16.", metavar="NAME", rich_help_panel=HOW)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a setting of the protocol.",
        metavar="KEY=VALUE",
        autocompletion=completing.settings,
        rich_help_panel=WHAT,
    ),
]
Comparison = Annotated[
    str | None, typer.Option(help="Only this comparison: its folder's name.", metavar="NAME", rich_help_panel=WHAT)
]

RESULTS = Path("results")
SEVERAL = "--extensions"
# More are a slip of the finger.
MOST_SEEDS = 10_000


def listed(text: str) -> list[int]:
    """The numbers of a list with ranges: `0,3,7-9`. Raises RequestError for any other text."""
    from bench.errors import RequestError

    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise RequestError(f"--seeds {text}: write numbers and ranges, such as 0-4 or 0,3,7-9")
        if (many := int(last or first) - int(first)) > MOST_SEEDS:
            raise RequestError(f"--seeds {text}: {many + 1:,} seeds are more than {MOST_SEEDS:,}")
        found += range(int(first), int(last or first) + 1)
    return found


def spread(arguments: Sequence[str]) -> list[str]:
    """The arguments, with `--extensions A B` written as typer reads it: `--extensions A --extensions B`."""
    written: list[str] = []
    several = False
    for place, argument in enumerate(arguments):
        if several and not argument.startswith("-") and arguments[place - 1] != SEVERAL:
            written.append(SEVERAL)
        several = argument == SEVERAL or (several and not argument.startswith("-"))
        written.append(argument)
    return written

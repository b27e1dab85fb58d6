"""How help is laid out: commands and options in groups, then examples, within 80 columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

# The groups of the options of a command that has many, in their order, and the group of all others.
WHAT, WHERE, HOW, LEFT = GROUPS = "What is asked for", "Where it runs", "How it is computed", "What is left and shown"
OTHER = "Options"
BIGGEST = re.compile(r"\s*\[0<=x<=\d{10,}\]")  # a limit that nobody comes near
# What the command is called in help, unless its own script was started.
MODULE = "python -m bench"


def examples(*lines: str) -> str:
    """The end of a command's help: command lines as one types them behind the command's name."""
    return "\n".join(lines)


class Command(TyperCommand):
    """A command whose options stand in the groups that they name (`rich_help_panel`), with examples behind them."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then each group of options in its order; what every command has comes last."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{one: [] for one in GROUPS}, OTHER: []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                group = "Arguments" if parameter.param_type_name == "argument" else panel(parameter)
                groups[group].append((record[0].replace(" <list[str]>", "..."), BIGGEST.sub("", record[1])))
        _write(formatter, groups)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, as they are typed."""
        _write_examples(self.epilog, ctx, formatter)


class Commands(TyperGroup):
    """Commands in the groups that they name, with examples behind them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each group, in the order in which it is first named, with a line a command."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                row = name, (command.help or "").partition("\n\n")[0].replace("\n", " ")
                groups.setdefault(panel(command), []).append(row)
        _write(formatter, groups)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, as they are typed."""
        _write_examples(self.epilog, ctx, formatter)


def panel(one: Any) -> str:
    """The group that a command or an option names."""
    return getattr(one, "rich_help_panel", None) or OTHER


def _write(formatter: Any, groups: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    for group, rows in groups.items():
        if rows:
            with formatter.section(group):
                formatter.write_dl(rows, col_max=26)


def _write_examples(epilog: str | None, ctx: Any, formatter: Any) -> None:
    if epilog:
        with formatter.section("Examples"):
            for line in epilog.splitlines():
                formatter.write(f"  {ctx.find_root().info_name} {line}\n")


def called(program: str, arguments: list[str]) -> str:
    """What the command is called in its help; a shell completes it under the name of its script alone."""
    asked = any(one.startswith(("--install-completion", "--show-completion")) for one in arguments)
    return "bench" if asked or Path(program).stem == "bench" else MODULE

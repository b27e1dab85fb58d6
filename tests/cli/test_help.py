"""Help of every command: one line of purpose, groups, examples that the command takes, within 80 columns."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.testing
from typer.main import get_command

from bench.cli import app
from bench.cli.options import spread

GROUP = get_command(app)
COMMANDS = sorted(GROUP.commands)


def help_of(*command: str) -> str:
    done = typer.testing.CliRunner().invoke(app, [*command, "--help"], prog_name="python -m bench")
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_it_has_a_purpose_and_examples_and_no_line_is_too_long(command: str | None) -> None:
    lines = help_of(*filter(None, [command])).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith("  ") and lines[2].strip()[0].isupper()
    assert "Examples:" in lines and lines[-1].startswith("  python -m bench ")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_takes_its_examples(command: str) -> None:
    examples = GROUP.commands[command].epilog.splitlines()
    assert examples
    for line in examples:
        name, *arguments = spread(shlex.split(line))
        assert name == command
        GROUP.commands[command].make_context(name, arguments, resilient_parsing=False).close()


def test_the_options_of_run_stand_in_groups() -> None:
    text = help_of("run")
    groups = ["What is asked for:", "Where it runs:", "How it is computed:", "What is left and shown:", "Examples:"]
    assert sorted(groups, key=text.index) == groups
    assert text.index("What is asked for:") < text.index("--protocol") < text.index("Where it runs:")


# What bash is asked after the words, and what it must offer.
OFFERED = [
    ("run dense", "densenet121"),
    ("run vit_tiny+token_m", "vit_tiny+token_merging"),
    ("run --protocol cifar10-", "cifar10-scratch"),
    ("run vit_tiny --extensions flex", "flexible_downsampling"),
    ("run --data dig", "digits"),
    ("measure --only thr", "throughput"),
    ("check-plugin token_l", "token_learner"),
    ("run --set train.epo", "train.epochs="),
    ("rec", "recommend"),
    ("run --no-k", "--no-keep-weights"),
]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_models_extensions_protocols_and_options(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("bench")
    asked = [
        f"COMP_WORDS=(bench {words}); COMP_CWORD={len(words.split())}; COMPREPLY=(); _bench_completion bench; "
        'echo "${COMPREPLY[@]}"'
        for words, _ in OFFERED
    ]
    script = "\n".join([f'bench() {{ "{installed}" "$@"; }}', 'eval "$(bench --show-completion bash)"', *asked])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stderr == ""
    assert [
        expected in offered.split() for (_, expected), offered in zip(OFFERED, done.stdout.splitlines(), strict=True)
    ] == [True] * len(OFFERED), done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_completion_installs_itself_for_the_shell_that_asks(tmp_path: Path) -> None:
    asked = f'"{Path(sys.executable).with_name("bench")}" --install-completion; echo "$?"'
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, env=home, timeout=60)
    assert done.stdout.endswith("\n0\n"), done.stderr
    begun = f'source "{tmp_path}/.bashrc"; type -t _bench_completion; complete -p bench'
    told = subprocess.run(["bash", "-c", begun], capture_output=True, text=True, env=home, timeout=60).stdout
    assert told.startswith("function\n") and "_bench_completion" in told.splitlines()[1]

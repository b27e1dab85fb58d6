"""What the README and the pages of docs/ show is true because it is run: commands, files and code, in their order.

`$ …` in a block `console` is run, `run` cut down to some pictures and one epoch; a block that begins with `# NAME` is
that file; other code is run as a script. A block `shell` shows what wants a cluster, a GPU or hours: its commands are
parsed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from faulted import Bench
from paged import PAGES, ROOT, RUN, blocks, commands, name_of, run_page
from typer.main import get_command

from bench.cli import app
from bench.cli.options import spread
from bench.files import DISTRIBUTION

EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
SHOWN = [(page, block) for page in PAGES for block in blocks(page)]


def test_no_block_is_of_a_kind_that_nobody_looks_at() -> None:
    directives = {"{toctree}", "{figure}", "{literalinclude}", "{eval-rst}", "{bench-help}", "{bench-quantities}"}
    assert {block.kind for _, block in SHOWN} <= {"console", "shell", "python", "toml", *directives}
    for page, block in SHOWN:
        if block.kind == "console":
            assert all(line.startswith("$ ") for line in block.text.splitlines()), page


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    for block in blocks(page):
        for words in commands(block) if block.kind in ("console", "shell") else ():
            while re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            match words:
                case ["python", "-m", "bench", *rest]:
                    if rest[1:] != ["--help"]:
                        name, *arguments = spread(rest)
                        get_command(app).commands[name].make_context(name, arguments).close()
                case ["python", "-m", "pip", "install", *what]:
                    named = re.findall(r"\[(.*)\]", " ".join(what))
                    assert all(extra in EXTRAS for one in named for extra in one.split(",")), words
                    assert {"-e", "tox"} & {*what} or any(one.startswith(DISTRIBUTION) for one in what), words
                case ["python", "-m", ("tox" | "pytest"), *_]:
                    pass
                case ["python", script, *_]:
                    assert (ROOT / script).is_file(), words
                case _:
                    raise AssertionError(f"{page.name}: nobody knows what {words} does")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUN if page.parent.name != "plugins"], ids=name_of)
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, bench: Bench) -> None:
    run_page(page, tmp_path, bench)

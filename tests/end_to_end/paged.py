"""The blocks of a page of Markdown, and how a page is run from top to bottom: see test_pages.py."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faulted import Bench
from PIL import Image

from bench.protocol import load_protocol

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\S+).*?\n(?:# (\S+\.(?:py|toml))\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
CUT = ("train.epochs=1", "train.limit=64", "data.test_limit=64")


@dataclass(frozen=True)
class Block:
    """A block of a page: what it is (console, shell, python, toml), the file that it is, if any, and its text."""

    kind: str
    file: str | None
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for kind, file, text in FENCED.findall(page.read_text()):
        yield Block(kind, file or None, text)


def commands(block: Block) -> list[list[str]]:
    """The words of each command, without what is said behind it."""
    lines = block.text.replace("\\\n", " ").splitlines()
    shown = [line.removeprefix("$ ") for line in lines if block.kind == "shell" or line.startswith("$ ")]
    return [words for line in shown if (words := shlex.split(line, comments=True))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def is_run(block: Block) -> bool:
    """Whether something happens where the block is: a command or a script."""
    return block.kind == "console" or (block.kind == "python" and block.file is None)


RUN = [page for page in PAGES if any(map(is_run, blocks(page)))]


def run_page(page: Path, tmp_path: Path, bench: Bench) -> None:
    for part, count in (("train", 16), ("test", 6)):
        for number in range(count):
            file = tmp_path / "pictures" / part / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(file)
    script = ""
    for block in blocks(page):
        if block.kind in ("python", "toml") and block.file is not None:
            (tmp_path / block.file).parent.mkdir(exist_ok=True)
            (tmp_path / block.file).write_text(block.text.lstrip("\n"))
        elif block.kind == "python":
            script += block.text
        elif block.kind == "console":
            for words in commands(block):
                if words[:3] == ["python", "-m", "bench"]:
                    done = bench(*cut(words[3:], tmp_path), in_folder=tmp_path, BENCH_CACHE=str(tmp_path / "cache"))
                    assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
                    assert "is left out" not in done.stderr.replace("'halve' is left out", ""), done.stderr
    if script:
        done = subprocess.run([sys.executable, "-"], input=script, text=True, capture_output=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def cut(arguments: list[str], place: Path) -> list[str]:
    """The arguments of a `run`, of which as much is done as a test has time for; of other commands as they are.

    Two trials at once, of which nothing is timed: that takes longest.
    """
    if arguments[0] != "run" or "--plan" in arguments:
        return arguments
    named = arguments[arguments.index("--protocol") + 1] if "--protocol" in arguments else "quick"
    name = load_protocol(str(place / named) if named.endswith(".toml") else named).name
    settings = [word for one in (*CUT, f"name={name}") for word in ("--set", one)]
    fewer = ["0" if word == "0-2" else word for word in arguments]
    jobs = [] if "--jobs" in arguments else ["--jobs", "2"]
    return [*fewer, *settings, "--device", "cpu", "--no-timing", *jobs]

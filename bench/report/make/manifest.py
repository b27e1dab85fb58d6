"""What a report was made from: results/.report.json says of every generated file what it and its content came from.

So only what changed is made anew, and a file that was edited by hand, or that nothing makes any more, is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.files import write_text

NAME = ".report.json"
# What decides over the bytes of a figure or a page, beside bench's own code.
PACKAGES = ("jinja2", "matplotlib", "tabulate")


@dataclass(frozen=True)
class Made:
    """A generated file: digests of its inputs and of the code that made it, and SHA-256 of its content."""

    inputs: str
    code: str
    sha256: str


def read_manifest(results: Path) -> dict[str, Made]:
    """By path in the results folder, never outside it; empty where there is none, or a damaged one."""
    try:
        document = json.loads((results / NAME).read_bytes())
        made = {str(path): Made(**entry) for path, entry in document.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {path: one for path, one in made.items() if _inside(results, path)}


def _inside(results: Path, path: str) -> bool:
    return (results / path).resolve().is_relative_to(results.resolve())


def write_manifest(results: Path, made: Mapping[str, Made]) -> None:
    """Write it, the same for the same files; not where it says so already."""
    text = json.dumps({path: asdict(made[path]) for path in sorted(made)}, indent=1) + "\n"
    file = results / NAME
    if not file.exists() or file.read_bytes() != text.encode():
        write_text(file, text)


@cache
def code_digest() -> str:
    """Of the report's own source files and of the versions of the packages that it draws and writes with."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(folder).as_posix()}\n".encode() + file.read_bytes())
    for package in PACKAGES:
        try:
            digest.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            continue
    return digest.hexdigest()


def content_digest(file: Path) -> str | None:
    """SHA-256 of the file; None where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None

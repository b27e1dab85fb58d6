"""What a report was made from: results/.report.json says of every generated file what it and its content came from.

So only what changed is made anew, and a file that was edited by hand, or that nothing makes any more, is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.files import PACKAGE, write_text

NAME = ".report.json"
# Of the package bench, all that decides over the content of a report.
SOURCES = ("files.py", "protocol.py", "records", "report")
LIBRARIES = ("jinja2", "markupsafe", "matplotlib", "numpy", "pillow", "scipy", "tabulate")


@dataclass(frozen=True)
class Made:
    """A generated file: digests of its inputs, of the code and the libraries that made it, and of its content.

    Files are made anew where any of these changed, but a check asks nothing of the libraries: a clone's may be newer.
    """

    inputs: str
    code: str
    sha256: str
    libraries: str = ""  # a manifest of an older bench does not say


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


def code_digest(package: Path = PACKAGE) -> str:
    """SHA-256 of the package's source files that decide over a report's content."""
    digest = hashlib.sha256()
    for file in sorted(file for source in SOURCES for file in (package / source, *(package / source).rglob("*"))):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(package).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def libraries_digest() -> str:
    """SHA-256 of the names and versions of the libraries that a report is written and drawn with."""
    return hashlib.sha256("\n".join(f"{name} {version(name)}" for name in LIBRARIES).encode()).hexdigest()


def content_digest(file: Path) -> str | None:
    """SHA-256 of the file; None where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None

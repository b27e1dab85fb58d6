"""`python -m bench new-plugin`: a plugin that already runs, to be changed. The templates are plugins themselves."""

from __future__ import annotations

import re
from pathlib import Path

from bench.errors import RequestError, unknown
from bench.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
# What each kind is tried with; NAME is what was asked for.
NEXT = {
    "model": "python -m bench run NAME vit_tiny --protocol quick",
    "extension": "python -m bench run vit_tiny --extensions NAME --protocol quick",
    "dataset": "python -m bench run vit_tiny --protocol quick --data NAME",
    "measurement": "python -m bench measure vit_tiny --image-size 32 --only NAME",
    "runtime": "python -m bench measure vit_tiny --image-size 32 --only NAME",
    "package": "python -m pip install -e FOLDER && python -m bench run NAME vit_tiny --protocol quick",
}
# Of a plugin's name, since it names files, modules and distributions, too.
NAME = re.compile(r"[a-z][a-z0-9_]*")


def write_plugin(name: str, kind: str, into: Path) -> tuple[list[Path], str]:
    """Write a plugin of that kind into the folder `into`; gives its files, and the command to try it with.

    A package gets a folder of its own there. RequestError where the name will not do, or something is there already.
    """
    if kind not in NEXT:
        raise unknown("kind of plugin", kind, NEXT, "python -m bench new-plugin --help")
    if not NAME.fullmatch(name):
        raise RequestError(f"{name!r} is no name for a plugin: use small letters, digits and '_', a letter first")
    files = _package(name, into / name) if kind == "package" else {into / f"{name}.py": _filled(f"{kind}.py", name)}
    for file in files:
        if file.exists():
            raise RequestError(f"{file} is there already: choose another name, or remove it")
    for file, content in files.items():
        write_text(file, content)
    return list(files), NEXT[kind].replace("NAME", name).replace("FOLDER", str(into / name))


def _package(name: str, folder: Path) -> dict[Path, str]:
    parts = {folder / part: _filled(f"package/{part}", name) for part in ("pyproject.toml", "README.md")}
    parts[folder / f"bench_{name}.py"] = _filled("model.py", name)
    parts[folder / "tests" / "test_plugin.py"] = _filled("package/tests/test_plugin.py", name)
    return parts


def _filled(template: str, name: str) -> str:
    """The template's text with the name in the place of `mine`."""
    text = (TEMPLATES / template).read_text().replace("module_of_mine", f"bench_{name}")
    return re.sub(r"\bmine(?=\b|_ms\b)", name, text)

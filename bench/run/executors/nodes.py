"""What a machine of a cluster has installed, held against this one's: before anything is done there.

`installed` travels whole, as its code: it is asked on machines that may have no bench. So it imports what it needs
itself, and names nothing else of this module.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.files import DISTRIBUTION
from bench.plugins.finding import is_file

# What computes must be the same everywhere, by its public version: a build for a GPU may stand beside one for CPUs.
PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "numpy")


def installed(packages: Sequence[str], modules: Sequence[str]) -> dict[str, Any]:
    """The version of each package, None where it is not there; a digest of bench's code; which modules are missing."""
    import hashlib
    import importlib.metadata
    import importlib.util
    import pathlib

    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            return None

    def is_missing(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is None
        except (ImportError, ValueError):
            return True

    code = hashlib.sha256()
    if not is_missing("bench"):
        for place in importlib.util.find_spec("bench").submodule_search_locations or ():  # type: ignore[union-attr]
            for file in sorted(pathlib.Path(place).rglob("*.py")):
                code.update(file.relative_to(place).as_posix().encode() + file.read_bytes())
    return {
        "packages": {name: version(name) for name in packages},
        "code": code.hexdigest(),
        "missing": [name for name in modules if is_missing(name)],
    }


def why_unfit(here: dict[str, Any], there: dict[str, Any]) -> str:
    """Why a machine cannot do what this one asks, in words; empty where it can."""
    reasons = []
    for name, version in here["packages"].items():
        found = there["packages"].get(name)
        if found is None:
            reasons.append(f"{name} is not installed there")
        elif found != version:
            reasons.append(f"{name} {found} there, {version} here")
    if not reasons and here["code"] != there["code"]:
        reasons.append("bench is the same version there, but other code")
    reasons += [f"{name} is not installed there" for name in there["missing"]]
    return ", ".join(reasons)


def modules_of(plugins: Iterable[str]) -> tuple[str, ...]:
    """The modules that plugins in those places import and that this machine has: what they may do without is no need.

    A place is a file, or an entry point's value.
    """
    wanted: set[str] = set()
    for place in plugins:
        if not is_file(place):
            wanted.add(place.partition(":")[0].partition(".")[0])
            continue
        for node in ast.walk(ast.parse(Path(place).read_bytes())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                wanted.add(node.module.partition(".")[0])
    wanted -= {*sys.stdlib_module_names, "bench", *PACKAGES}
    return tuple(sorted(name for name in wanted if find_spec(name) is not None))

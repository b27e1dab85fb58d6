"""Where what comes with bench lies: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def bundled(what: str) -> Path:
    """The folder of the bundled `plugins` or `protocols`."""
    inside = PACKAGE / "_bundled" / what
    return inside if inside.is_dir() else PACKAGE.parent / what

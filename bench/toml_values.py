"""Values typed on the command line, in TOML's notation."""

from __future__ import annotations

import tomllib
from typing import Any


def toml_value(text: str) -> Any:
    """The value that TOML gives the text; a bare word that is no TOML value is itself (a string)."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    # More than one key: the text held a line break and a second assignment, so it is no single value.
    return document["value"] if len(document) == 1 else text.strip()

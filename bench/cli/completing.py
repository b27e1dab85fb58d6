"""What a shell offers when one presses Tab: the names that there are. Nothing is printed, whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.plugins import Registry


def models(incomplete: str) -> list[str]:
    """Models, and behind a + the extensions."""
    base, plus, last = incomplete.rpartition("+")
    names = _registry().extensions if plus else _registry().models
    return [f"{base}{plus}{name}" for name in beginning(names, last)]


def extensions(incomplete: str) -> list[str]:
    """Extensions."""
    return beginning(_registry().extensions, incomplete)


def datasets(incomplete: str) -> list[str]:
    """Datasets."""
    return beginning(_registry().datasets, incomplete)


def executors(incomplete: str) -> list[str]:
    """Executors."""
    return beginning(_registry().executors, incomplete)


def measurements(incomplete: str) -> list[str]:
    """Measurements."""
    return beginning(_registry().measurements, incomplete)


def plugins(incomplete: str) -> list[str]:
    """Plugins."""
    return beginning(_registry().plugins, incomplete)


def protocols(incomplete: str) -> list[str]:
    """Protocols, and the TOML files here."""
    from bench.protocol import protocol_files

    return beginning([*protocol_files(), *map(str, sorted(Path().glob("*.toml")))], incomplete)


def settings(incomplete: str) -> list[str]:
    """Settings of a protocol, up to the value."""
    from bench.protocol import setting_names

    return beginning((f"{name}=" for name in setting_names()), incomplete)


def beginning(names: Iterable[str], incomplete: str) -> list[str]:
    """Those of the names that begin so."""
    return [name for name in names if name.startswith(incomplete)]


def _registry() -> Registry:
    from bench.plugins import load_plugins

    return load_plugins()

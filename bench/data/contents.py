"""What the cache holds, and clearing what is named: decoded pictures, those half decoded, downloads."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.data.cache import FOLDER, Stored, read_stored, sole_decoder
from bench.data.decode import HALF
from bench.data.in_use import DESCRIPTION, sole_use
from bench.errors import RequestError, unknown
from bench.files import cache_folder


@dataclass(frozen=True)
class Entry:
    """One thing in the cache: `id` is short and its own, `name` maybe several's, `days` how long ago it was made."""

    id: str
    name: str
    what: str
    bytes: int
    days: float
    path: Path
    keys: tuple[Path, ...] = ()  # files that lead to it, of no use without it


def contents() -> list[Entry]:
    """Everything in the cache, the largest first."""
    return sorted(_found(cache_folder()), key=lambda entry: -entry.bytes)


def clear(names: Sequence[str]) -> list[Entry]:
    """Remove what is named, by id or by name; `all` is everything. Gives what was removed.

    RequestError where nothing is called so, or a run uses what is: then nothing is removed.
    """
    found = contents()
    known = {key: [one for one in found if key in (one.id, one.name)] for one in found for key in (one.id, one.name)}
    chosen: dict[Path, Entry] = {}
    for name in names:
        if name != "all" and name not in known:
            raise unknown("entry of the cache", name, known, "python -m bench cache")
        chosen |= {one.path: one for one in (found if name == "all" else known[name])}
    if chosen:
        with sole_decoder(cache_folder()), ExitStack() as held:
            for one in chosen.values():
                if not held.enter_context(sole_use(one.path)):
                    raise RequestError(f"{one.name} ({one.id}) is in use by a run: wait for its end, or stop it")
            for one in chosen.values():
                for key in one.keys:
                    key.unlink(missing_ok=True)
                try:
                    shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink(missing_ok=True)
                except OSError as error:
                    raise RequestError(f"{one.path} cannot be removed: {error.strerror}") from None
    return list(chosen.values())


def _found(cache: Path) -> Iterator[Entry]:
    pictures = cache / FOLDER
    keys = {file: read_stored(file) for file in pictures.glob("*.json")}
    for folder in _entries(pictures):
        if not folder.is_dir():
            continue
        own = tuple(file for file, stored in keys.items() if stored is not None and Path(stored.folder) == folder)
        stored = read_stored(folder / DESCRIPTION) or (keys[own[0]] if own else None)
        if folder.name.startswith(HALF):
            yield _entry(folder, folder.name.removeprefix(HALF)[:12], "pictures", "half decoded")
        elif stored is not None:
            yield _entry(folder, folder.name[:12], stored.name, _pictures(stored), own)
        else:
            yield _entry(folder, folder.name[:12], "pictures", "of an unknown dataset")
    for one in _entries(cache):
        if one != pictures and (found := _entry(one, one.name, one.name, "downloaded")).bytes:
            yield found


def _pictures(stored: Stored) -> str:
    count = sum(stored.counts.values())
    try:
        height, width = stored.images("train").shape[1:3]
    except (RequestError, ValueError):  # something removed a part of them, or damaged it
        return f"a part of {count:,} pictures"
    return f"{count:,} pictures of {width}x{height}"


def _entries(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.name[0] != ".") if folder.is_dir() else []


def _entry(path: Path, short: str, name: str, what: str, keys: tuple[Path, ...] = ()) -> Entry:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    days = (time.time() - path.stat().st_mtime) / 86400
    return Entry(short, name, what, sum(file.stat().st_size for file in files), days, path, keys)

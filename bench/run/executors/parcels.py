"""What a piece of work needs of the machine that it comes from, packed so that another one can do it, and back.

For executors whose machines share no files with the user's. A trial's folder travels there and comes back changed, and
so do the sessions that a timing writes; folders of plugins travel whole. Decoded pictures and pretrained weights are
large and the same for many trials: they are named here, and fetched where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.data.cache import Stored
from bench.errors import RequestError
from bench.files import amount, bundled, write_bytes
from bench.models.kept import DESCRIPTION, TENSORS
from bench.plugins.finding import is_file, plugin_folders
from bench.records.record import NAME as RECORD
from bench.records.sessions import FOLDER as SESSIONS
from bench.request import CheckRequest, Place, TimingRequest, TrialSpec, Weights
from bench.run import keep

# Bytes of a folder of plugins that travel with every piece of work.
MOST = 100_000_000
# What is read of a trial to time it.
TIMED = (RECORD, DESCRIPTION, TENSORS)

# Each file's content by its path within the folder.
Contents = dict[str, bytes]
# Each file's time and size, by which a change is noticed.
State = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Parcel:
    """The work, the files of the folder that it works in, of its plugins' folders by where they are, and what is to be
    fetched."""

    work: partial[Any]
    root: Path | None = None
    files: Contents = field(default_factory=dict)
    plugins: Mapping[Path, Contents] = field(default_factory=dict)
    stored: Stored | None = None
    weights: Weights | None = None


def belongs_here(work: Callable[..., Any]) -> bool:
    """Whether it is about what the user's machine alone has: datasets, downloads."""
    return isinstance(work, partial) and any(isinstance(one, CheckRequest) for one in work.args)


def packed(work: Callable[..., Any]) -> Parcel:
    """What of this machine the work needs. RequestError for plugins that are too large to travel.

    Nobody else may be at work in the folder of a trial.
    """
    assert isinstance(work, partial)
    request = work.args[0] if work.args else None
    if isinstance(request, TrialSpec):
        keep.settle(request.folder)
        files = _read(request.folder, state(request.folder))
        return Parcel(work, request.folder, files, _plugins(request.place), request.stored, request.weights)
    if isinstance(request, TimingRequest):
        root, sessions = request.folder.absolute(), request.folder / SESSIONS
        wanted = [*(sessions / name for name in state(sessions))]
        wanted += [folder / name for folder in request.trials for name in TIMED if (folder / name).exists()]
        names = [file.absolute().relative_to(root).as_posix() for file in wanted]
        return Parcel(work, root, _read(root, names), _plugins(request.place))
    return Parcel(work)


def _plugins(place: Place) -> dict[Path, Contents]:
    folders = plugin_folders(place.plugins, place.working_directory)
    there = {folder for folder in folders if folder.is_dir() and folder.resolve() != bundled("plugins").resolve()}
    return {folder: _plugin_files(folder) for folder in sorted(there)}


def _plugin_files(folder: Path) -> Contents:
    names = [name for name in state(folder) if "__pycache__" not in name]
    size = sum((folder / name).stat().st_size for name in names)
    if size > MOST:
        raise RequestError(
            f"plugin folder {folder} holds {amount(size)}: it would travel with every trial, and {amount(MOST)} may; "
            "move what is no plugin elsewhere"
        )
    return _read(folder, names)


def _read(folder: Path, names: Iterable[str]) -> Contents:
    return {name: (folder / name).read_bytes() for name in names}


def state(folder: Path) -> State:
    """The files of a folder that travel: all but hidden ones, which are locks and what is half written."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            status = file.stat()
            found[name.as_posix()] = (status.st_mtime_ns, status.st_size)
    return found


def unpacked(parcel: Parcel, into: Path) -> tuple[Path, dict[Path, Path]]:
    """Write what travelled into that folder: gives where the work's folder is there, and each folder of plugins."""
    root = into / "work"
    plugins = {folder: into / f"plugins{number}" for number, folder in enumerate(parcel.plugins)}
    for folder, files in ((root, parcel.files), *((plugins[one], files) for one, files in parcel.plugins.items())):
        folder.mkdir()
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return root, plugins


def moved(
    parcel: Parcel, root: Path, plugins: Mapping[Path, Path], here: Path, stored: Stored | None, weights: Weights | None
) -> partial[Any]:
    """The work as it is to be done where its parts are now; `here` is the working directory there."""
    work = parcel.work
    request = work.args[0] if work.args else None

    def at(folder: Path) -> Path:
        assert parcel.root is not None
        return root / folder.absolute().relative_to(parcel.root.absolute())

    def places(of: Sequence[str]) -> tuple[str, ...]:
        moved = (plugins[Path(place).parent] / Path(place).name if _is_in(place, plugins) else place for place in of)
        return tuple(map(str, moved))

    if isinstance(request, TrialSpec):
        assert stored is not None
        request = replace(
            request,
            folder=root,
            place=_place(request.place, root, plugins, here),
            stored=stored,
            weights=weights,
            plugins=None if request.plugins is None else places(request.plugins),
            measuring=places(request.measuring),
        )
    elif isinstance(request, TimingRequest):
        trials = tuple(at(folder) for folder in request.trials)
        request = replace(request, folder=root, trials=trials, place=_place(request.place, root, plugins, here))
    else:
        return work
    return partial(work.func, request, *work.args[1:], **work.keywords)


def _is_in(place: str, folders: Mapping[Path, Path]) -> bool:
    return is_file(place) and Path(place).parent in folders


def _place(place: Place, root: Path, plugins: Mapping[Path, Path], here: Path) -> Place:
    return replace(place, results=root, plugins=tuple(plugins.values()), working_directory=here)


def changes(folder: Path, before: State) -> tuple[Contents, tuple[str, ...]]:
    """What has changed in the folder since it was in that state: files' contents, and which files are gone."""
    now = state(folder)
    return _read(folder, (name for name in now if now[name] != before.get(name))), tuple(before.keys() - now.keys())


def brought_back(folder: Path, files: Contents, gone: Sequence[str]) -> None:
    """Change the folder in the same way: what belongs to one record at once, so that no kill leaves half of it."""
    at_once = {RECORD, *keep.BESIDE}
    for name in files.keys() - at_once:
        write_bytes(folder / name, files[name])
    changed = {name: content for name, content in files.items() if name in at_once}
    if changed or at_once.intersection(gone):
        keep.take_over(folder, changed, gone)
    for name in {*gone} - at_once:
        (folder / name).unlink(missing_ok=True)

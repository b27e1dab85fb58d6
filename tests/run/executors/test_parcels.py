"""Work that is done on another machine: what it needs travels there, what it changed comes back, and all of that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import RequestError
from bench.data.cache import Stored
from bench.data.receive import received
from bench.events import EpochEnded
from bench.files import cache_folder
from bench.hookspecs import DiedError
from bench.records.record import read_record
from bench.request import CheckRequest, TrialSpec
from bench.run import keep
from bench.run.executors import away, parcels, work
from bench.run.executors.nodes import PACKAGES, installed, modules_of, why_unfit


def read(file: Path, offset: int, size: int) -> bytes:
    """As of a machine that has the sender's files."""
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Another machine's cache."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


def done_away(spec: TrialSpec, home: float = away.HOME) -> tuple[list[Any], dict[str, Any]]:
    """The trial's events, and its other items by their kind, of which the files are brought back."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    parcel = parcels.packed(partial(work.run_trial, spec))
    events, others = [], dict[str, Any]()
    for kind, content in filter(None, away.do(parcel, spec.folder / "log.txt", None, read, {"ELSEWHERE": "1"}, home)):
        if kind == "event":
            events.append(content)
        else:
            others[kind] = content
            if kind == "files":
                parcels.brought_back(spec.folder, *content)
    return events, others


def test_a_trial_done_on_another_machine_leaves_all_at_home_that_it_leaves_here(
    tiny_trial: Callable[..., TrialSpec], elsewhere: Path
) -> None:
    spec = tiny_trial()
    events, others = done_away(spec)
    assert [event.epoch for event in events if isinstance(event, EpochEnded)] == [1, 2, 3]
    record = read_record(spec.folder / "record.json")
    assert record.to_json() == others["answer"].to_json() and record.status == "ok"
    assert {*keep.BESIDE, "record.json", "log.txt"} <= {file.name for file in spec.folder.iterdir()}
    assert not list(spec.folder.glob("checkpoint-*")) and not (spec.folder / keep.NEW).exists()
    (stored,) = (elsewhere / "pictures").glob("*/stored.json")
    assert json.loads(stored.read_text())["fingerprint"] == spec.stored.fingerprint
    # The plugin was read where it was put, and not where it was.
    assert record.model.plugin == "tiny_model"


def test_what_was_reached_there_comes_home_on_the_way_and_is_gone_on_from(
    tiny_trial: Callable[..., TrialSpec], elsewhere: Path
) -> None:
    spec = tiny_trial("train.epochs=30")
    spec.folder.mkdir(parents=True)
    items = away.do(parcels.packed(partial(work.run_trial, spec)), spec.folder / "log.txt", None, read, {}, home=0.0)
    for kind, content in filter(None, items):
        if kind == "files":
            parcels.brought_back(spec.folder, *content)
            break
    items.close()  # type: ignore[attr-defined]
    assert list(spec.folder.glob("checkpoint-*.pt"))
    events, _ = done_away(spec)
    assert next(event.epoch for event in events if isinstance(event, EpochEnded)) > 1
    assert read_record(spec.folder / "record.json").status == "ok"
    assert not list(spec.folder.glob("checkpoint-*"))


def test_a_trial_that_dies_there_is_told_so_here(
    tiny_trial: Callable[..., TrialSpec], elsewhere: Path, tmp_path: Path
) -> None:
    plugins = tmp_path / "dying"
    plugins.mkdir()
    source = "import os\nfrom bench import ModelSpec, hookimpl\n\ndef build(*, num_classes, image_size, pretrained):\n"
    source += "    print('its last words', flush=True)\n    os._exit(5)\n\n"
    source += "@hookimpl\ndef bench_models():\n    yield ModelSpec('dies', build, 'mlp')\n"
    (plugins / "dies.py").write_text(source)
    spec = replace(tiny_trial(model="dies", plugins=plugins), plugins=(str(plugins / "dies.py"),))
    _, others = done_away(spec)
    assert isinstance(others["error"], DiedError) and "exit status 5" in str(others["error"])
    assert "its last words" in (spec.folder / "log.txt").read_text()


def test_what_only_the_user_s_machine_has_is_asked_there(
    tiny_trial: Callable[..., TrialSpec],
) -> None:
    spec = tiny_trial()
    asked = CheckRequest(("tiny",), spec.protocol, spec.place)
    assert parcels.belongs_here(partial(work.check_models, asked))
    assert not parcels.belongs_here(partial(work.run_trial, spec))
    assert not parcels.belongs_here(partial(work.find_devices, "auto", "fp32"))


def test_a_folder_of_plugins_that_is_too_large_to_travel_is_named(
    tiny_trial: Callable[..., TrialSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_trial()
    spec.folder.mkdir(parents=True)
    monkeypatch.setattr(parcels, "MOST", 10)
    with pytest.raises(RequestError, match=r"plugin folder .* would travel with every trial"):
        parcels.packed(partial(work.run_trial, spec))


def test_a_record_comes_back_whole_with_what_belongs_to_it_or_not_at_all(tmp_path: Path) -> None:
    for name in ("record.json", "predictions.npz", "checkpoint-1.pt"):
        (tmp_path / name).write_text("old")
    files = {"record.json": b"new", "predictions.npz": b"new", "log.txt": b"new"}
    parcels.brought_back(tmp_path, files, ("checkpoint-1.pt",))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(files, "new")


# Pictures


def test_pictures_are_fetched_once_and_what_does_not_arrive_as_it_was_is_refused(
    digits: Stored, elsewhere: Path
) -> None:
    def damaged(file: Path, offset: int, size: int) -> bytes:
        content = read(file, offset, size)
        return content[:-1] + b"?" if file.name == "train_images.npy" and content else content

    with pytest.raises(RequestError, match="did not arrive as they were sent"):
        list(received(digits, damaged))
    assert not list((elsewhere / "pictures").glob("*/"))
    here = ended(received(digits, read))
    assert here.folder.startswith(str(cache_folder())) and here.fingerprint == digits.fingerprint
    assert (here.images("test") == digits.images("test")).all()

    def never(file: Path, offset: int, size: int) -> bytes:
        raise AssertionError

    assert ended(received(digits, never)) == here


def ended(fetching: Any) -> Stored:
    while True:
        try:
            next(fetching)
        except StopIteration as end:
            found: Stored = end.value
            return found


# What a machine has


def has(packages: Sequence[str] = PACKAGES, modules: Sequence[str] = ()) -> dict[str, Any]:
    return installed(packages, modules)


def test_a_machine_that_differs_is_told_in_what() -> None:
    here = has(modules=("torch", "no_such_module"))
    assert why_unfit(has(), has()) == ""
    assert why_unfit(has(), here) == "no_such_module is not installed there"
    versions = {**here["packages"], "torch": "1.0", "timm": None}
    other = {**here, "packages": versions, "missing": []}
    assert why_unfit(has(), other) == f"torch 1.0 there, {here['packages']['torch']} here, timm is not installed there"
    assert "other code" in why_unfit(has(), {**has(), "code": "another"})


def test_a_plugin_needs_the_modules_that_it_imports_and_that_are_here(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import os, sklearn.svm\nfrom scipy import stats\nimport torch\n"
        "try:\n    import no_such_module\nexcept ImportError:\n    pass\n"
    )
    assert modules_of([str(plugin), "tabulate:plugin"]) == ("scipy", "sklearn", "tabulate")


def test_what_comes_in_quick_succession_is_sent_together_and_nothing_waits_for_long() -> None:
    now = ("event", 1), ("event", 2), ("files", 3), ("answer", 4)
    assert list(away.gathered(iter(now), wait=60)) == [[*now]]
    assert list(away.gathered(iter(now), wait=0)) == [[one] for one in now]

    def slowly() -> Iterator[away.Item | None]:
        yield from now[:2]
        for _ in range(3):
            time.sleep(0.02)
            yield None  # nothing happens for a moment
        yield now[2]

    assert list(away.gathered(slowly(), wait=0.03)) == [[*now[:2]], [now[2]]]
    assert not list(away.gathered(iter([None, None])))

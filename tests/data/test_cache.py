"""Pictures are decoded once, found again, and divided the same way for every model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import DatasetSpec, Pictures, RequestError, Split
from bench.data import cache, decode
from bench.data.cache import prepare
from bench.data.splits import split
from bench.events import DataProgress, Event, Note
from bench.files import cache_folder


class Source:
    """A dataset of noise that counts how often it is decoded."""

    def __init__(self, **changes: Any) -> None:
        self.loaded = 0
        generator = np.random.default_rng(0)
        self.pictures = Pictures(
            classes=["a", "b"],
            train=Split(generator.integers(0, 256, (8, 4, 4, 3), np.uint8), [0, 1] * 4),
            test=Split(generator.integers(0, 256, (4, 4, 4, 3), np.uint8), [0, 1] * 2),
        )
        self.pictures = replace(self.pictures, **changes)

    def load(self, *, location: str, image_size: int, cache: Path) -> Pictures:
        self.loaded += 1
        return self.pictures

    def spec(self, name: str = "noise", key: str | None = "1") -> DatasetSpec:
        return DatasetSpec(name, self.load, key=None if key is None else lambda location, image_size: key)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"


def test_pictures_are_stored_as_they_are() -> None:
    source = Source()
    stored = prepare(source.spec(), "", 8)
    assert stored.classes == ("a", "b")
    assert stored.counts == {"train": 8, "test": 4}
    for part, pictures in (("train", source.pictures.train), ("test", source.pictures.test)):
        np.testing.assert_array_equal(stored.images(part), pictures.pictures)
        np.testing.assert_array_equal(stored.labels(part), pictures.labels)
        assert (stored.images(part).dtype, stored.labels(part).dtype) == (np.uint8, np.int64)


def test_what_was_decoded_once_is_found_again() -> None:
    source = Source()
    first = prepare(source.spec(), "", 8)
    assert prepare(source.spec(), "", 8) == first
    assert source.loaded == 1


def test_a_dataset_whose_content_has_no_key_is_loaded_at_every_run_and_stored_once() -> None:
    source = Source()
    first, second = (prepare(source.spec(key=None), "", 8) for _ in range(2))
    assert first == second
    assert source.loaded == 2
    assert len(list((cache_folder() / "pictures").glob("*/train_images.npy"))) == 1


def test_another_key_decodes_anew() -> None:
    source = Source()
    prepare(source.spec(key="1"), "", 8)
    prepare(source.spec(key="2"), "", 8)
    assert source.loaded == 2


@pytest.mark.parametrize("lost", ["folder", "train_images.npy", "train_labels.npy", "test_images.npy", "description"])
def test_what_was_lost_from_the_cache_is_decoded_again(lost: str) -> None:
    source = Source()
    first = prepare(source.spec(), "", 8)
    if lost == "folder":
        shutil.rmtree(first.folder)
    elif lost == "description":
        for file in (cache_folder() / "pictures").glob("*.json"):
            file.write_text("{")
    else:
        (Path(first.folder) / lost).unlink()
    again = prepare(source.spec(), "", 8)
    assert again.fingerprint == first.fingerprint
    for part in ("train", "test"):
        assert len(again.images(part)) == len(again.labels(part))


CHANGES = {
    "a pixel": lambda p: replace(p, train=Split(p.train.pictures ^ np.uint8(1), p.train.labels)),
    "a label": lambda p: replace(p, train=Split(p.train.pictures, [1, 1, 0, 1, 0, 1, 0, 1])),
    "a class's name": lambda p: replace(p, classes=["a", "c"]),
    "the order": lambda p: replace(p, train=Split(p.train.pictures[::-1], p.train.labels)),
    "the parts": lambda p: replace(p, val=p.test),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_the_fingerprint_is_that_of_the_content(change: Callable[[Pictures], Pictures]) -> None:
    source, changed = Source(), Source()
    changed.pictures = change(changed.pictures)
    assert prepare(source.spec("one"), "", 8).fingerprint == prepare(source.spec("other"), "", 8).fingerprint
    assert prepare(changed.spec("changed"), "", 8).fingerprint != prepare(source.spec("one"), "", 8).fingerprint


def test_pictures_may_be_decoded_when_asked_for() -> None:
    source, array = Source(), Source().pictures.train.pictures
    source.pictures = replace(source.pictures, train=Split(list(array), source.pictures.train.labels))
    np.testing.assert_array_equal(prepare(source.spec(), "", 8).images("train"), array)


def test_decoding_that_fails_leaves_nothing_behind() -> None:
    class Torn(list[np.ndarray]):
        def __getitem__(self, index: Any) -> Any:
            if index == 5:
                raise RequestError("5.png cannot be read")
            return super().__getitem__(index)

    source = Source()
    source.pictures = replace(source.pictures, train=Split(Torn(source.pictures.train.pictures), [0, 1] * 4))
    with pytest.raises(RequestError, match=r"5\.png"):
        prepare(source.spec(), "", 8)
    assert [entry.name for entry in (cache_folder() / "pictures").iterdir()] == [".lock"]


def test_progress_counts_every_picture() -> None:
    told: list[Event] = []
    prepare(Source().spec(), "", 8, told.append)
    room, *progress = told
    assert isinstance(room, Note) and room.text.startswith("noise: 12 pictures are decoded once, into 576 bytes of ")
    done = [event.done for event in progress if isinstance(event, DataProgress) and event.total == 12]
    assert done[-1] == 12 and done == sorted(done)
    assert prepare(Source().spec(), "", 8, told.append) and len(told) == 1 + len(progress)  # nothing is decoded again


class Counted(list[np.ndarray]):
    """Pictures of which it is known which were decoded; decoding is cut at one of them, as a kill cuts it."""

    def __init__(self, pictures: Any, cut: int | None) -> None:
        super().__init__(pictures)
        self.decoded: list[int] = []
        self.cut = cut

    def __getitem__(self, index: Any) -> Any:
        if index == self.cut:
            raise KeyboardInterrupt
        self.decoded.append(index)
        return super().__getitem__(index)


@pytest.mark.parametrize("part", ["train", "test"])
def test_decoding_that_was_cut_goes_on_from_where_it_was(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    train, test = (
        generator.integers(0, 256, (400, 4, 4, 3), np.uint8),
        generator.integers(0, 256, (200, 4, 4, 3), np.uint8),
    )

    def source(cut: int | None) -> tuple[Source, Counted]:
        counted = Counted(train if part == "train" else test, cut)
        own = {"train": Split(train, [0, 1] * 200), "test": Split(test, [0, 1] * 100)}
        own[part] = Split(counted, own[part].labels)
        return Source(**own), counted

    first, _ = source(150)
    with monkeypatch.context() as often, pytest.raises(KeyboardInterrupt):
        often.setattr(decode, "NOTED", 0.0)
        prepare(first.spec(), "", 8)
    (left,) = (cache_folder() / "pictures").glob("decoding-*")
    again, counted = source(None)
    stored = prepare(again.spec(), "", 8)
    assert 0 not in counted.decoded[1:] and len(counted.decoded) < len(counted)  # but for one look at the first's shape
    assert not left.exists()
    np.testing.assert_array_equal(stored.images("train"), train)
    np.testing.assert_array_equal(stored.images("test"), test)
    assert stored.fingerprint == prepare(again.spec(key=None), "", 8).fingerprint


def test_decoding_whose_asker_is_gone_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the pipe to a command that was killed says it, where that comes before the end of the process."""
    monkeypatch.setattr(decode, "NOTED", 0.0)
    monkeypatch.setattr(cache, "TOLD", 0.0)

    def tell(event: Event) -> None:
        if isinstance(event, DataProgress) and event.done > 5:
            raise BrokenPipeError

    source = Source()
    with pytest.raises(BrokenPipeError):
        prepare(source.spec(), "", 8, tell)
    (left,) = (cache_folder() / "pictures").glob("decoding-*")
    assert json.loads((left / "progress.json").read_text())["done"]["train"] == 5


def test_half_of_other_pictures_is_not_taken_for_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "NOTED", 0.0)
    source = Source()
    source.pictures = replace(source.pictures, test=Split(Counted(source.pictures.test.pictures, 3), [0, 1] * 2))
    with pytest.raises(KeyboardInterrupt):
        prepare(source.spec(), "", 8)
    other = Source(train=Split(np.zeros((8, 5, 5, 3), np.uint8), [0, 1] * 4))
    assert prepare(other.spec(), "", 8).images("train").shape == (8, 5, 5, 3)


noise = np.zeros((4, 4, 4, 3), np.uint8)
WRONG: dict[str, dict[str, Any]] = {
    "one class": {"classes": ["a"]},
    "no pictures": {"test": Split(noise[:0], [])},
    "more labels than pictures": {"test": Split(noise, [0, 1, 0, 1, 0])},
    "a label beyond the classes": {"test": Split(noise, [0, 1, 2, 1])},
    "a negative label": {"test": Split(noise, [0, 1, -1, 1])},
    "pictures of mixed sizes": {"test": Split([noise[0], noise[0][:3], noise[0], noise[0]], [0, 1, 0, 1])},
    "grey pictures": {"test": Split(noise[..., 0], [0, 1, 0, 1])},
    "pictures of 0..1": {"test": Split(noise.astype(np.float32), [0, 1, 0, 1])},
    "classes that are no names": {"classes": [0, 1]},
    "two classes of one name": {"classes": ["a", "a"]},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_a_dataset_that_is_not_as_the_contract_says_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="noise"):
        prepare(Source(**wrong).spec(), "", 8)


def test_a_cache_that_cannot_be_written_is_refused_and_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RequestError, match="BENCH_CACHE"):
        prepare(Source().spec(), "", 8)


def test_a_dataset_at_a_location_is_named_after_both(tmp_path: Path) -> None:
    assert prepare(Source().spec(), str(tmp_path / "photos"), 8).name == "noise:photos"


def test_a_location_keeps_the_name_that_it_was_given_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v3").mkdir()
    (tmp_path / "photos").symlink_to("v3")
    for location, name in (("v3", "v3"), ("photos", "photos"), ("photos/", "photos"), ("v3/.", "v3")):
        assert prepare(Source().spec(), str(tmp_path / location), 8).name == f"noise:{name}"
    monkeypatch.chdir(tmp_path / "v3")
    assert [prepare(Source().spec(), one, 8).name for one in (".", "..")] == ["noise:v3", f"noise:{tmp_path.name}"]


# Which pictures are for what


def test_a_stored_description_is_plain_json() -> None:
    prepare(Source().spec(), "", 8)
    (description,) = (cache_folder() / "pictures").glob("*.json")
    assert json.loads(description.read_text())["classes"] == ["a", "b"]


def test_validation_pictures_of_the_dataset_s_own_are_used_whole_and_cost_no_training_picture() -> None:
    source = Source()
    source.pictures = replace(source.pictures, val=source.pictures.test)
    parts = split(prepare(source.spec(), "", 8), 0.5, 0)
    assert (parts["val"].part, len(parts["val"].indices), len(parts["train"].indices)) == ("val", 4, 8)


def test_what_a_killed_run_left_half_decoded_is_removed() -> None:
    left = cache_folder() / "pictures" / "decoding-abc"
    left.mkdir(parents=True)
    (left / "train_images.npy").write_bytes(b"half")
    prepare(Source().spec(), "", 8)
    assert not left.exists()


def test_a_lock_that_is_a_folder_is_a_line() -> None:
    (cache_folder() / "pictures" / ".lock").mkdir(parents=True)
    with pytest.raises(RequestError, match=r"cache folder .*; set BENCH_CACHE"):
        prepare(Source().spec(), "", 8)


def test_decoded_pictures_that_are_gone_are_a_line() -> None:
    stored = prepare(Source().spec(), "", 8)
    shutil.rmtree(stored.folder)
    with pytest.raises(RequestError, match="are gone; run again to decode them"):
        stored.images("train")

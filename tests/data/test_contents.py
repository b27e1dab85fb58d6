"""What the cache holds is listed with its size, and what is named is cleared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import DatasetSpec, Pictures, RequestError, Split
from bench.data.cache import Stored, prepare
from bench.data.contents import clear, contents
from bench.data.in_use import in_use
from bench.files import cache_folder


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def stored(name: str, side: int = 4, key: str | None = "1") -> Stored:
    """A dataset of that name, decoded."""
    pictures = Split(np.zeros((6, side, side + 1, 3), np.uint8), [0, 1] * 3)
    made = Pictures(classes=["a", name], train=pictures, test=pictures)
    named = None if key is None else lambda location, image_size: key
    return prepare(DatasetSpec(name, lambda **_: made, key=named), "", 8)


def test_an_empty_cache_holds_nothing() -> None:
    assert contents() == []


def test_everything_is_listed_the_largest_first_with_what_it_is() -> None:
    stored("small")
    stored("large", side=9, key=None)
    (cache_folder() / "archive.tar.gz").write_bytes(b"0" * 5000)
    (cache_folder() / "pictures" / "decoding-abc").mkdir()
    (cache_folder() / "pictures" / "decoding-abc" / "progress.json").write_text("{}")
    found = contents()
    assert [(one.name, one.what) for one in found] == [
        ("archive.tar.gz", "downloaded"),
        ("large", "12 pictures of 10x9"),
        ("small", "12 pictures of 5x4"),
        ("pictures", "half decoded"),
    ]
    assert found[0].bytes == 5000 and found[1].bytes > 12 * 9 * 10 * 3


def test_what_is_named_is_cleared_and_decoded_anew_when_it_is_wanted() -> None:
    one, other = stored("one"), stored("other")
    assert [entry.name for entry in clear(["one"])] == ["one"]
    assert [entry.name for entry in contents()] == ["other"]
    with pytest.raises(RequestError, match="are gone; run again to decode them"):
        one.images("train")
    assert Path(stored("one").folder).exists() and Path(other.folder).exists()
    assert len(clear(["all"])) == 2 and contents() == []


def test_pictures_of_which_a_part_is_gone_are_listed_and_cleared() -> None:
    (Path(stored("torn").folder) / "train_images.npy").unlink()
    assert [(one.name, one.what) for one in contents()] == [("torn", "a part of 12 pictures")]
    assert len(clear(["torn"])) == 1 and contents() == []


def test_what_a_run_uses_is_not_cleared_nor_is_anything_with_it() -> None:
    used, free = stored("used"), stored("free")
    with in_use(used.folder), in_use(used.folder):  # by two runs
        with pytest.raises(RequestError, match=r"used \(\w{12}\) is in use by a run: wait for its end, or stop it"):
            clear(["all"])
        assert len(contents()) == 2
        assert len(clear(["free"])) == 1 and not Path(free.folder).exists()
    assert len(clear(["used"])) == 1 and contents() == []
    with in_use(used.folder):  # which is gone: the run will say so
        assert contents() == []


def test_where_one_name_is_unknown_nothing_is_cleared() -> None:
    stored("digits")
    with pytest.raises(RequestError, match="unknown entry of the cache 'digit': did you mean digits"):
        clear(["digits", "digit"])
    assert len(contents()) == 1

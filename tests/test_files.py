"""Files: written whole or not at all, and no two names become one."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import StorageError
from bench.files import WRITES, replacing, trial_folder, write_bytes, write_text


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "record.json"
    write_text(file, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.files.os.fsync", full)
    with pytest.raises(StorageError, match=r"record.json cannot be written: No space .*; make room on the disk"):
        write_bytes(file, b"new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_whoever_reads_a_file_while_it_is_written_reads_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    write_text(file, "old")
    with file.open() as reader:
        write_text(file, "new")
        assert reader.read() == "old"
    assert file.read_text() == "new"


PIECES = ["a", ":", "/", "@", "-", "--", "%", "=", "."]
pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5)
words = pieces.map(lambda some: "m" + "".join(some))


@given(pieces, st.integers(0, 4), st.sampled_from(PIECES), st.integers(0, 1))
def test_no_two_trials_share_a_folder(some: list[str], place: int, piece: str, seed: int) -> None:
    one = "m" + "".join(some)
    other = "m" + "".join(piece if index == place else each for index, each in enumerate(some))
    folders = trial_folder(Path("results"), one, 0), trial_folder(Path("results"), other, seed)
    assert (folders[0] == folders[1]) == ((one, 0) == (other, seed))


@pytest.mark.parametrize("pair", [("timm/vgg19", "timm--vgg19"), ("m:k=a:b", "m:k=a@b"), ("m:k=a/b", "m:k=a--b")])
def test_names_that_differ_only_in_special_characters_have_folders_of_their_own(pair: tuple[str, str]) -> None:
    assert len({trial_folder(Path("results"), name, 0) for name in pair}) == 2


@given(words)
def test_a_trial_s_folder_lies_two_below_the_results(name: str) -> None:
    folder = trial_folder(Path("results"), name, 3)
    assert folder.parent.parent == Path("results")
    assert folder.name == "seed3"
    assert folder.parent.name not in {".", "..", ""}


def test_who_must_end_may_wait_for_what_is_being_written(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with replacing(tmp_path / "file") as stream:
            begun.set()
            go_on.wait(10)
            stream.write(b"whole")

    assert WRITES.wait(0)
    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(10)
    assert not WRITES.wait(0.05)
    go_on.set()
    assert WRITES.wait(10)
    assert (tmp_path / "file").read_bytes() == b"whole"
    thread.join()

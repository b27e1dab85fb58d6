"""One process at a time in a folder, on any file system; what a dead one held is taken over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import LeaseCompromise

from bench.errors import BusyError, RequestError
from bench.run import lock
from bench.run.lock import is_free, sole_user

HOLDS = """
import sys, time
from pathlib import Path
from bench.run.lock import sole_user
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_another_process_holds_is_busy_and_what_it_held_when_it_died_is_free_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "seed0"
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert not is_free(folder)
    with pytest.raises(BusyError, match="another run is at work there"), sole_user(folder):
        pass
    holder.kill()
    holder.wait()
    assert is_free(folder)
    assert not (folder / ".lock").exists()


def test_what_is_no_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder" / ".lock").mkdir(parents=True)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / ".lock").symlink_to(tmp_path / "nowhere")
    for folder in ("folder", "link"):
        with pytest.raises(RequestError, match=r"\.lock is in the way, and no lock of bench: remove it"):
            is_free(tmp_path / folder)


def test_a_process_ends_where_another_has_taken_over_and_not_where_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    lost = lock._lock(tmp_path)._on_compromise
    assert lost is not None
    for reason, folder, ends in (
        ("owner-changed", tmp_path, True), ("marker-missing", tmp_path, True),
        ("marker-missing", tmp_path / "gone", False), ("refresh-failed", tmp_path, False),
    ):  # fmt: skip
        ended.clear()
        lost(LeaseCompromise(lock_file=str(folder / ".lock"), token="", reason=reason))  # type: ignore[arg-type]
        assert bool(ended) is ends

"""`bench cache` lists what the cache holds, with sizes, and clears what is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Bench = Callable[..., "CompletedProcess[str]"]


def test_the_cache_is_listed_and_cleared_by_name(bench: Bench, picture_folder: Path, tmp_path: Path) -> None:
    def cache(*arguments: str) -> CompletedProcess[str]:
        return bench("cache", *arguments, in_folder=tmp_path, BENCH_CACHE=str(tmp_path / "cache"))

    assert cache().stdout.startswith("none")
    command = ("run", "no_such_model", "--protocol", "quick", "--data", f"folder:{picture_folder}")
    assert bench(*command, in_folder=tmp_path, BENCH_CACHE=str(tmp_path / "cache")).returncode == 2
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "archive.tar").write_bytes(b"0" * 12_300)
    assert "archive.tar" in cache().stdout and "12.3 kB" in cache().stdout
    wrong = cache("--clear", "archive")
    assert wrong.returncode == 2 and "did you mean archive.tar" in wrong.stderr
    (removed,) = json.loads(cache("--clear", "archive.tar", "--json").stdout)
    assert (removed["name"], removed["bytes"]) == ("archive.tar", 12_300)
    assert cache().stdout.startswith("none")

"""A user's own script, and a plugin, are type-checked against bench: strictly, and by what is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from pathlib import Path

import bench
from bench import ModelSpec, Quantity, Record, RunRequest, hookimpl


def best(records: list[Record]) -> float:
    return max(record.accuracy.test_top1 for record in records if record.accuracy is not None)


outcome = bench.run(["vit_tiny"], protocol="quick", seeds=[0, 1], device="cpu")
print(best(outcome.records), outcome.page, outcome.frame().columns)
bench.run(RunRequest(("vit_tiny",), protocol="quick"))
bench.report("results")
model = bench.load_model(Path("results/quick/vit_tiny/seed0"))
size = Quantity(key="size", label="size", about="a size", path="size", kind="count", better="lower")
"""
WRONG = "import bench\nbench.run(5)\nbench.load_records('results').no_such_thing\n"


# As the checkout's own check has left it, where it was made: else bench itself is looked at once more.
CACHE = Path(__file__).resolve().parents[1] / ".mypy_cache"


@pytest.mark.slow
def test_a_script_passes_strictly_and_a_mistake_in_one_is_found(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for text, status in ((SCRIPT, 0), (WRONG, 1)):
        (tmp_path / "script.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(CACHE), "script.py"],
            cwd=tmp_path, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
    assert done.stdout.count("error:") == 2

"""Types and documentation as a whole: beside the other tests, since each of the two keeps one core busy for long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def passes(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_types_hold() -> None:
    pytest.importorskip("mypy")
    passes("mypy")


@pytest.mark.slow
def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    passes("sphinx", "-W", "--keep-going", "-q", "docs", str(tmp_path / "docs"))

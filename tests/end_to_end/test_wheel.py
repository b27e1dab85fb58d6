"""An installed wheel works as a checkout does: its plugins and protocols come with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of this checkout is installed; what it depends on comes from the environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(CHECKOUT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = folder.glob("bench-*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True, timeout=300
    )
    return folder / "site"


def test_the_bundled_plugins_and_protocols_come_with_it(
    installed: Path, bench: Callable[..., Any], tmp_path: Path
) -> None:
    listed = json.loads(bench("plugins", "--json", in_folder=tmp_path, PYTHONPATH=str(installed)).stdout)
    assert {"vgg", "densenet", "deit", "vit", "efficientnet_lite", "datasets"} <= {p["name"] for p in listed["plugins"]}
    assert all(plugin["place"].startswith(str(installed)) for plugin in listed["plugins"])
    protocols = json.loads(bench("protocols", "--json", in_folder=tmp_path, PYTHONPATH=str(installed)).stdout)
    assert {"quick", "cifar10", "cifar10-scratch"} <= {protocol["name"] for protocol in protocols}


def test_the_parts_of_the_page_come_with_it(installed: Path, tmp_path: Path) -> None:
    program = "from pathlib import Path; from bench.report.page.html import make; print(len(make(Path(), [])))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30_000


def test_it_trains_in_an_empty_folder(installed: Path, bench: Callable[..., Any], tmp_path: Path) -> None:
    settings = ["--set", "train.epochs=1", "--set", "train.limit=128", "--set", "name=short"]
    done = bench("run", "vit_tiny", *settings, "--no-timing", "--json", in_folder=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["records"]
    assert record["status"] == "ok"
    assert record["environment"]["git"] is None  # it is in no checkout
    assert (tmp_path / "results" / "short" / "README.md").exists()

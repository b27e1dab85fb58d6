"""An environment in which bench is installed as a user has it: by its wheel, and no checkout in sight."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def built(project: Path, into: Path) -> Path:
    """The wheel of a project."""
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), str(project)]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = into.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installed:
    """A virtual environment: what bench depends on is taken from the one that runs the tests, bench itself is not."""

    folder: Path

    @classmethod
    def of(cls, wheel: Path, folder: Path) -> Installed:
        """A new one, in which bench's wheel is installed."""
        venv.create(folder, symlinks=True)
        one = cls(folder)
        # Folders that a .pth names are searched, but the .pth files in them are not read: an editable bench stays out.
        there = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
        (one.site / "dependencies.pth").write_text("\n".join(there))
        one.install(wheel, "--no-deps", "--ignore-installed")
        return one

    @property
    def site(self) -> Path:
        (site,) = self.folder.glob("lib/python*/site-packages")
        return site

    def install(self, project: Path, *options: str) -> None:
        """Install a wheel or a project, from this machine alone: what it depends on has to be there."""
        command = [*PIP, "--python", str(self.folder), "install", "--no-index", "--no-build-isolation", *options]
        subprocess.run([*command, str(project)], check=True, timeout=300)

    def run(
        self, program: str, *arguments: str, in_folder: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A program of the environment, `bench` or `python`, run to its end."""
        outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=in_folder, env={**outside, **environment}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

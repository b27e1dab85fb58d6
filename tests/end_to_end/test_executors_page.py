"""The executor that docs/executors.md shows is plugged in as it stands there; its `srun` starts the command here."""

from __future__ import annotations

import os
import re
from pathlib import Path

from faulted import PLAIN, Bench, record

PAGE = Path(__file__).resolve().parents[2] / "docs" / "executors.md"
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do echo "$1" >> asked.txt; shift; done
exec "$@"
"""


def test_the_executor_of_the_page_runs_trials(place: Path, bench: Bench) -> None:
    (code,) = re.findall(r"# plugins/slurm.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (place / "plugins" / "slurm.py").write_text(code)
    (place / "srun").write_text(SRUN)
    (place / "srun").chmod(0o755)
    path = {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}", "HOME": str(place)}
    done = bench(*PLAIN, "other", "--executor", "slurm", "--cpus-per-trial", "2", in_folder=place, **path)
    assert done.returncode == 0, done.stderr
    assert "other epoch 3/3" in done.stderr and record(place, "other").status == "ok"
    assert "--cpus-per-task=2" in (place / "asked.txt").read_text()
    done = bench(*PLAIN, "other", "--executor", "slurm", "--device", "cuda:7", in_folder=place, **path)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "cuda" in done.stderr

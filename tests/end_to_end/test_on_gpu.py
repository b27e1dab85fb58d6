"""What a stranger with a GPU is told to run, run here on the CPU for what makes sense there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "on_gpu.py"


def test_the_checks_for_a_gpu_run_and_hold_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "on_gpu.json"
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--small", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    held = {one["check"]: one["held"] for one in found["checks"]}
    assert held["CUDA is not started before a trial forks"] is True
    assert held["run small: records are complete"] is True
    assert held["a repeat agrees to the bit"] is True
    assert held["--deterministic repeats to the bit, a killed run that goes on too"] is True
    assert held["pytest tests -m cuda"] is None  # needs a GPU, and says so
    (row,) = found["steps"]
    assert row["eager_seconds"] > 0 and row["launches"] is None and "error" not in row
    assert found["environment"]["device_kind"] == "cpu"
    assert all(one["check"] in done.stdout for one in found["checks"])

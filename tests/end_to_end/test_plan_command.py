"""`run --plan`: what would run, how long it takes and what it needs, before anything is trained or written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faulted import PLAIN, Bench, one_line, record


def test_a_plan_says_what_is_left_by_measured_steps_and_then_by_earlier_trials(place: Path, bench: Bench) -> None:
    command = (*PLAIN, "tiny", "other", "--seeds", "0-1")
    first = bench(*command, "--plan", "--json", "--gpus", "2", in_folder=place)
    assert first.returncode == 0, first.stderr
    plan = json.loads(first.stdout)
    assert (plan["done"], plan["slots"], plan["unknown"], plan["too_large"]) == (0, 2, 0, [])
    assert {one["basis"] for one in plan["trials"]} == {"a few measured steps"}
    lengths = [one["seconds"] for one in plan["trials"]]
    assert len(lengths) == 4 and lengths == sorted(lengths, reverse=True)
    assert not list((place / "results").rglob("record.json"))

    done = bench(*PLAIN, "tiny", "other", in_folder=place)
    assert done.returncode == 0, done.stderr
    for name in ("tiny", "other"):
        efficiency = record(place, name).efficiency
        assert efficiency is not None and efficiency.memory is not None
        (foreseen,) = {one["peak_bytes"] for one in plan["trials"] if one["model"] == name}
        # Of a model of kilobytes, what a kernel takes for itself is no longer small.
        assert foreseen == pytest.approx(efficiency.memory.train_peak, rel=0.25)

    table = bench(*command, "--plan", in_folder=place)
    assert table.returncode == 0 and "a few steps are measured" not in table.stderr
    rows = [line.split()[0] for line in table.stdout.splitlines() if "1 earlier trial" in line]
    assert sorted(rows) == ["other", "tiny"]
    assert "2 trials are left, one at a time; 2 recorded in results/small." in table.stdout
    assert "The whole takes about" in table.stdout
    more = bench(*command, "--plan", "--measure", "robustness", in_folder=place)
    assert more.returncode == 0 and "), and what measuring robustness takes." in more.stdout
    again = bench(*command, in_folder=place)
    one_line(again, "takes about", "by earlier trials: 2 trials")
    assert again.returncode == 0
    nothing = bench(*command, "--plan", in_folder=place)
    assert "nothing is left to run: all 4 trials are recorded in results/small" in nothing.stdout


def test_a_plan_of_what_cannot_be_foreseen_says_so(place: Path, bench: Bench, command: Bench) -> None:
    done = command(*PLAIN, "other", "tiny_raise", "--plan", in_folder=place, FAULT="build:raise")
    assert done.returncode == 0, done.stderr
    one_line(done, "tiny_raise: its steps cannot be timed: ValueError: as it was told")
    assert "Of 1 trial it is not known how long that takes" in done.stdout
    done = bench(*PLAIN, "other", "--gpus", "2", in_folder=place)
    assert done.returncode == 2
    one_line(done, "--gpus is for --plan; --jobs says how many trials run at once")

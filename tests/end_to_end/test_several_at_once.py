"""`run --jobs 2`: several trials at once, with the records that one by one gives, and times of nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulted import PLAIN, RUN, Bench, Started, compared, furnish

from bench.records.record import Record, read_record
from bench.records.sessions import FOLDER

TOGETHER = (*RUN, "--set", "name=together")
ALONE = (*PLAIN, "--set", "name=alone")
# Of trials that share two cores each has one: what is compared is computed by one, too.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def of(place: Path, protocol: str, model: str) -> Record:
    return read_record(place / "results" / protocol / model / "seed0" / "record.json")


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory, bench: Bench) -> dict[str, dict[str, Any]]:
    """What each model comes to where one trial runs at a time."""
    folder = furnish(tmp_path_factory.mktemp("one_by_one"))
    done = bench(*ALONE, "tiny", "other", in_folder=folder, **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    records = {model: of(folder, "alone", model) for model in ("tiny", "other")}
    assert all(record.environment["sharing"] == 1 for record in records.values())
    return {model: compared(record) for model, record in records.items()}


def test_trials_at_once_give_the_records_of_trials_one_by_one(
    place: Path, bench: Bench, one_by_one: dict[str, dict[str, Any]]
) -> None:
    done = bench(*TOGETHER, "tiny", "other", "tiny:slow=0.01", in_folder=place, **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    begun = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert begun[0].startswith("[1/3]") and begun[1].startswith("[2/3]")  # before the first has ended
    for model, alike in (("tiny", "tiny"), ("other", "other"), ("tiny@slow=0.01", "tiny")):
        record = of(place, "together", model)
        assert compared(record) == one_by_one[alike]
        assert record.environment["sharing"] == 2


def test_what_is_timed_of_trials_that_share_a_device_is_timed_after_them(place: Path, bench: Bench) -> None:
    command = tuple(one for one in TOGETHER if one != "--no-timing")
    done = bench(*command, "tiny", "other", in_folder=place)
    assert done.returncode == 0, done.stderr
    for model in ("tiny", "other"):
        efficiency = of(place, "together", model).efficiency
        assert efficiency is not None and efficiency.errors is None and efficiency.macs
        assert (efficiency.latency_ms, efficiency.train_step, efficiency.throughput) == (None, None, None)
    assert list((place / "results" / "together" / FOLDER).glob("*.json"))
    table = (place / "results" / "together" / "README.md").read_text()
    assert "latency (ms)" in table and "2 trials at once" in table


def test_an_interrupt_stops_all_that_are_under_way_and_the_same_command_goes_on(
    place: Path, start: Callable[..., Started], bench: Bench, one_by_one: dict[str, Any]
) -> None:
    models = ("tiny:slow=0.5", "tiny:slow=0.6")
    run = start(*TOGETHER, *models, **ONE_THREAD)
    run.until("epoch 1/3")
    run.until("epoch 1/3")
    os.killpg(run.process.pid, signal.SIGINT)
    status, said = run.end()
    assert status == 130 and "Traceback" not in said
    names = ("tiny@slow=0.5", "tiny@slow=0.6")
    assert [of(place, "together", name).status for name in names] == ["interrupted"] * 2
    done = bench(*TOGETHER, *models, in_folder=place, **ONE_THREAD)
    assert done.returncode == 0 and "epoch 1/3" not in done.stderr
    assert [compared(of(place, "together", name)) for name in names] == [one_by_one["tiny"]] * 2


def test_a_trial_that_crashes_costs_the_one_beside_it_nothing(
    place: Path, bench: Bench, command: Bench, one_by_one: dict[str, Any]
) -> None:
    done = command(*TOGETHER, "tiny_kill", "other", in_folder=place, FAULT="forward:kill", **ONE_THREAD)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert of(place, "together", "tiny_kill").status == "crashed"
    assert compared(of(place, "together", "other")) == one_by_one["other"]


def test_seeds_are_added_until_the_interval_is_narrow_by_two_at_once(place: Path, bench: Bench) -> None:
    done = bench(*TOGETHER, "tiny", "--seeds", "3,5-6", "--until", "accuracy=40", in_folder=place, **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    assert "tiny: 5 seeds are enough for accuracy ± 40" in done.stderr
    seeds = [0, 1, 3, 5, 6]
    folder = place / "results" / "together" / "tiny"
    assert sorted(int(one.name.removeprefix("seed")) for one in folder.iterdir()) == seeds
    for seed in seeds:
        assert read_record(folder / f"seed{seed}" / "record.json").environment["until"] == {"accuracy": 40}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--seeds", "4-0"), "--seeds 4-0: write numbers and ranges"),
        (("--seeds", "a"), "--seeds a: write numbers and ranges"),
        (("--until", "latency_ms=1"), "--until latency_ms=1: "),
        (("--until", "accuracy=1", "--max-seeds", "3"), "--max-seeds 3: 5 seeds are the fewest"),
        (("--seeds", "0-1", "--max-seeds", "3"), "--max-seeds 3: is of --until"),
        (("--until", "speed=1"), "--until speed=1: seeds move accuracy"),
    ],
)
def test_seeds_that_cannot_be_are_one_line(arguments: tuple[str, ...], says: str, place: Path, bench: Bench) -> None:
    done = bench(*RUN, "tiny", *arguments, in_folder=place)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert says in line


def test_pictures_left_on_the_disk_give_the_record_of_pictures_in_memory(
    place: Path, bench: Bench, one_by_one: dict[str, dict[str, Any]]
) -> None:
    done = bench(*ALONE, "other", "--picture-memory", "0", in_folder=place, **ONE_THREAD)
    assert done.returncode == 0, done.stderr
    record = of(place, "alone", "other")
    assert record.environment is not None and set(record.environment["pictures"].values()) == {"file"}
    assert compared(record) == one_by_one["other"]

"""A finished record is never lost: to signals and kills, a full disk, a lock in the way, another run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulted import RUN, Bench, Started, compared, one_line, record

from bench.records.record import read_record

SLOW = """
import threading
import time

import numpy as np

from bench import DatasetSpec, Pictures, Split, hookimpl

class Slow:
    def __init__(self, count):
        self.count = count
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        time.sleep(0.02)
        with open("decoded.txt", "a") as file:
            file.write(f"{self.count} {index}\\n")
        return np.full((8, 8, 3), index % 250, np.uint8)

def load(*, location, image_size, cache):
    labels = {count: [index % 2 for index in range(count)] for count in (900, 100)}
    return Pictures(["even", "odd"], *(Split(Slow(count), own) for count, own in labels.items()))

@hookimpl
def bench_datasets():
    yield DatasetSpec("slow", load, key=lambda location, image_size: "1")
"""


def test_a_trial_ends_with_the_run_that_started_it_and_the_next_run_goes_on(
    place: Path, start: Callable[..., Started], bench: Bench
) -> None:
    first = start(*RUN, "tiny:slow=0.4")
    first.until("epoch 1/3")
    first.process.kill()
    killed = time.monotonic()
    done = bench(*RUN, "tiny:slow=0.4", in_folder=place)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/3" not in done.stderr and "epoch 2/3" in done.stderr
    found = record(place, "tiny@slow=0.4")
    assert found.status == "ok" and time.monotonic() - killed < 60
    time.sleep(3)  # an orphan would have written by now
    assert record(place, "tiny@slow=0.4") == found


@pytest.mark.parametrize(("how", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGHUP, False)])
def test_an_interrupt_by_any_signal_is_recorded_and_says_how_to_go_on(
    how: signal.Signals, to_all: bool, place: Path, start: Callable[..., Started], bench: Bench, undisturbed: Any
) -> None:
    run = start(*RUN, "tiny:slow=0.5")
    run.until("epoch 1/3")
    (os.killpg if to_all else os.kill)(run.process.pid, how)
    status, said = run.end()
    assert status == 130
    assert said.endswith("interrupted; everything finished so far is kept: the same command goes on from there\n")
    assert "Traceback" not in said
    assert record(place, "tiny@slow=0.5").status == "interrupted"
    if how is signal.SIGHUP:  # once is enough: what goes on is the same
        done = bench(*RUN, "tiny:slow=0.5", in_folder=place)
        assert done.returncode == 0 and "epoch 1/3" not in done.stderr
        assert compared(record(place, "tiny@slow=0.5")) == undisturbed["tiny"]


def test_a_finished_record_stays_until_the_fresh_one_is_whole(
    place: Path, start: Callable[..., Started], bench: Bench
) -> None:
    assert bench(*RUN, "tiny:held=6", in_folder=place).returncode == 0
    folder = place / "results" / "small" / "tiny@held=6" / "seed0"
    kept = ("record.json", "predictions.npz", "pictures.npz", "model.safetensors")
    before = {name: (folder / name).read_bytes() for name in kept}
    (place / "hold").touch()  # before the last of three epochs
    for how in (signal.SIGINT, signal.SIGKILL):
        run = start(*RUN, "tiny:held=6", "--fresh")
        run.until("epoch 2/3")
        os.kill(run.process.pid, how)
        run.end()
        assert {name: (folder / name).read_bytes() for name in kept} == before
    (place / "hold").unlink()
    assert list(folder.glob("checkpoint-*"))
    deadline = time.monotonic() + 30
    while list(folder.glob("checkpoint-*")):  # what was killed may be at it for some seconds
        assert time.monotonic() < deadline
        done = bench(*RUN, "tiny:held=6", in_folder=place)
        assert done.returncode == 0 and "already recorded" in done.stderr


def test_while_a_run_is_at_work_its_page_has_what_has_ended_and_its_pictures_are_kept(
    place: Path, start: Callable[..., Started], bench: Bench
) -> None:
    def rows() -> list[str]:
        page = (place / "results" / "small" / "README.md").read_text()
        return [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| tiny")]

    (place / "hold").touch()
    run = start(*RUN, "tiny", "tiny:held=6")
    run.until("tiny seed 0: ok")
    assert rows() == ["tiny"]  # while the other one is at work
    cleared = bench("cache", "--clear", "digits", in_folder=place)  # what both of them read
    assert cleared.returncode == 2
    one_line(cleared, "is in use by a run: wait for its end, or stop it")
    os.killpg(run.process.pid, signal.SIGKILL)
    run.end()
    (place / "hold").unlink()
    assert rows() == ["tiny"]
    assert bench(*RUN, "tiny", "tiny:held=6", in_folder=place).returncode == 0
    assert sorted(rows()) == ["tiny", "tiny:held=6"]


# Disks


@pytest.fixture
def small_disk(place: Path) -> Iterator[Callable[[str], Path]]:
    """`small_disk("400k")`: a folder on a disk of that size."""
    folder = place / "disk"
    folder.mkdir()
    mounted = False

    def make(size: str) -> Path:
        nonlocal mounted
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs to mount a small disk")
        mounted = True
        return folder

    yield make
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("size", ["100k"])
def test_a_full_disk_is_a_line_and_after_making_room_the_same_command_goes_on(
    size: str, place: Path, bench: Bench, small_disk: Callable[[str], Path], undisturbed: dict[str, Any]
) -> None:
    disk = small_disk(size)
    command = (*RUN, "tiny", "other", "--results", str(disk))
    done = bench(*command, in_folder=place)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert any(str(disk) in line and "No space left" in line for line in done.stderr.splitlines()), done.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
    done = bench(*command, in_folder=place)
    assert done.returncode == 0, done.stderr
    for model in ("tiny", "other"):
        found = read_record(disk / "small" / model / "seed0" / "record.json")
        assert compared(found) == undisturbed[model]


def test_a_results_folder_that_turns_into_a_file_is_a_line(place: Path, start: Callable[..., Started]) -> None:
    run = start(*RUN, "tiny:slow=0.3", "other")
    run.until("epoch 1/3")
    (place / "results").rename(place / "elsewhere")  # at once: the run writes meanwhile
    (place / "results").write_text("in the way")
    status, said = run.end()
    assert status == 1 and "Traceback" not in said
    assert "results/small" in said and ("Not a directory" in said or "File exists" in said)


# Two runs


def test_two_runs_on_one_folder_share_the_trials(
    place: Path, start: Callable[..., Started], undisturbed: dict[str, Any]
) -> None:
    models = ("tiny:slow=0.3", "tiny:slow=0.2", "tiny", "other")
    runs = [start(*RUN, *models, "--json") for _ in range(2)]
    documents = []
    for run in runs:
        output, said = run.process.communicate(timeout=120)
        assert run.process.returncode == 0, said
        documents.append((json.loads(output), said))
    trained = [said.count(f"{model} epoch 1/3") for model in models for _, said in documents]
    assert sum(trained) == len(models)  # none twice
    assert all(len(document["records"]) == len(models) for document, _ in documents)
    assert compared(record(place)) == undisturbed["tiny"]
    assert not list((place / "results").rglob(".lock"))


def test_a_lock_that_is_a_folder_is_a_line(place: Path, bench: Bench) -> None:
    (place / "results" / "small" / "tiny" / "seed0" / ".lock").mkdir(parents=True)
    done = bench(*RUN, "tiny", in_folder=place)
    assert done.returncode in (1, 2)
    one_line(done, ".lock is in the way")


def test_decoding_that_is_killed_goes_on_and_says_how_much_room_it_takes(
    place: Path, start: Callable[..., Started], bench: Bench
) -> None:
    """A dataset that decodes slowly, killed while it does: the next run decodes the rest alone."""
    (place / "plugins" / "slow.py").write_text(SLOW)
    cache = {"BENCH_CACHE": str(place / "cache")}
    first = start(*RUN, "other", "--data", "slow", "--set", "name=small", **cache)
    first.until("slow: 1,000 pictures are decoded once, into 192.0 kB of ")
    deadline = time.monotonic() + 60
    while not list(place.glob("cache/pictures/decoding-*/progress.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.process.kill()
    first.process.wait()
    time.sleep(1)  # its worker ends with it
    done = bench(*RUN, "other", "--data", "slow", "--set", "name=small", in_folder=place, **cache)
    assert done.returncode == 0, done.stderr
    decoded = (place / "decoded.txt").read_text().splitlines()
    assert decoded.count("900 0") == 3  # once by the first run; both look at its shape
    assert len(set(decoded)) == 1000 and len(decoded) < 1500
    assert record(place, "other").status == "ok"

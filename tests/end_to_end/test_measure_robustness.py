"""What is measured on request alone: accuracy under corruptions, in the record and the table where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records.measurement import read_measurements
from bench.records.record import read_record

SMALL = ["data.image_size=8", "train.epochs=2", "train.limit=200", "data.test_limit=50", "name=small"]
SETTINGS = [word for one in SMALL for word in ("--set", one)]
RUN = ["run", "tiny", "--protocol", "quick", "--no-timing", "--jobs", "2", *SETTINGS]
RECORD = "results/small/tiny/seed0/record.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_plugins: Path, bench: Callable[..., Any]) -> Path:
    """A working directory with a run of the tiny model of which robustness was asked for."""
    folder = tmp_path_factory.mktemp("robustness")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "tiny_model.py").write_text((tiny_plugins / "tiny_model.py").read_text())
    done = bench(*RUN, "--measure", "robustness", in_folder=folder)
    assert done.returncode == 0, done.stderr
    assert "corrupted top-1 (%)" in done.stdout
    return folder


def test_it_is_in_the_record_and_in_the_table(folder: Path) -> None:
    record = read_record(folder / RECORD)
    found = record.plugins["robustness"]
    assert 0 < found["mean"] < 1 and found["pictures"] == 50 and found["strengths"] == "CIFAR-10-C"
    assert len(found["accuracy"]) == 14 and all(len(row) == 5 for row in found["accuracy"].values())
    (quantity,) = record.quantities
    assert (quantity.key, quantity.value(record)) == ("corrupted_accuracy", pytest.approx(100 * found["mean"]))
    assert record.efficiency.errors is None
    assert "corrupted top-1 (%)" in (folder / "results/small/README.md").read_text()


def test_recommend_takes_it_for_a_limit(folder: Path, bench: Callable[..., Any]) -> None:
    asked = ["recommend", "--protocol", "small", "--min"]
    assert bench(*asked, "corrupted_accuracy=0", in_folder=folder).returncode == 0
    refused = bench(*asked, "corrupted_accuracy=100", in_folder=folder)
    assert refused.returncode == 1, refused.stderr + refused.stdout


def test_a_trial_without_it_is_the_same_trial_and_is_not_run_again(folder: Path, bench: Callable[..., Any]) -> None:
    before = (folder / RECORD).read_bytes()
    again = bench(*RUN, in_folder=folder)
    assert "already recorded in results/small: 1 of 1 trials" in again.stderr
    assert (folder / RECORD).read_bytes() == before


def test_it_is_not_measured_where_nobody_asked_and_can_be_afterwards(folder: Path, bench: Callable[..., Any]) -> None:
    """Of the weights that were kept, as the trial would have: the same pictures, the same value."""
    done = bench(*RUN, "--results", "later", in_folder=folder)
    assert done.returncode == 0, done.stderr
    file = folder / RECORD.replace("results", "later")
    before = read_record(file)
    assert "robustness" not in before.plugins and not before.quantities
    again = bench(*RUN, "--results", "later", "--measure", "robustness", in_folder=folder)
    command = "measure later/small/tiny/seed0 --only robustness"
    assert again.returncode == 0 and f"1 of them without robustness: python -m bench {command}" in again.stderr
    assert read_record(file) == before
    measured = bench(*command.split(), in_folder=folder)
    assert measured.returncode == 0, measured.stderr
    assert "corrupted top-1 (%)" in measured.stdout
    assert "corrupted top-1 (%)" in (folder / "later/small/README.md").read_text()
    after, first = read_record(file), read_record(folder / RECORD)
    assert after.plugins == first.plugins and after.quantities == first.quantities
    assert after.model_copy(update={"plugins": {}, "quantities": []}) == before


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--only", "macs"), "every trial measures it of itself"),
        (("--only", "robustness", "--image-size", "32"), "a finished trial is measured as it was trained"),
        (("results/small/nothing", "--only", "robustness"), "nothing: holds no record.json"),
    ],
)
def test_what_cannot_be_measured_of_a_finished_trial_is_a_line(
    asked: tuple[str, ...], says: str, folder: Path, bench: Callable[..., Any]
) -> None:
    before = (folder / RECORD).read_bytes()
    done = bench("measure", "results/small/tiny/seed0", *asked, in_folder=folder)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert (folder / RECORD).read_bytes() == before


def test_a_name_that_is_none_gets_one_line(folder: Path, bench: Callable[..., Any]) -> None:
    done = bench(*RUN, "--measure", "robustnes", in_folder=folder)
    assert done.returncode == 2 and "did you mean robustness" in done.stderr and len(done.stderr.splitlines()) == 1


def test_of_models_that_are_not_trained_it_is_null(folder: Path, bench: Callable[..., Any]) -> None:
    done = bench("measure", "tiny", "--image-size", "8", "--only", "robustness", in_folder=folder)
    assert done.returncode == 0, done.stderr
    (found,), _ = read_measurements(folder / "results" / "measure")
    assert found.plugins == {"robustness": None}


def test_it_is_as_the_contract_wants_it(folder: Path, bench: Callable[..., Any]) -> None:
    done = bench("check-plugin", "robustness", in_folder=folder)
    assert done.returncode == 0, done.stdout
    assert "it gives null of vit_tiny, which is not trained" in done.stdout

"""`new-plugin` writes plugins that run as they are: each is tried as its last line says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from faulted import Bench, one_line

from bench.files import DISTRIBUTION
from bench.new_plugin import NEXT
from bench.records.record import read_record

SHORT = ("--set", "train.epochs=1", "--set", "train.limit=96", "--set", "name=short", "--no-timing", "--jobs", "2")


def written(bench: Bench, folder: Path, *kinds: str) -> dict[str, str]:
    """By kind, the command that is printed after a plugin of that kind, called after it, was written."""
    commands = {}
    for kind in kinds:
        done = bench("new-plugin", f"my_{kind}", "--kind", kind, "--json", in_folder=folder)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert all((folder / file).is_file() for file in said["files"])
        commands[kind] = said["next"]
    return commands


def test_a_model_an_extension_and_a_dataset_train_as_they_are_written(bench: Bench, tmp_path: Path) -> None:
    commands = written(bench, tmp_path, "model", "extension", "dataset")
    run = "python -m bench run vit_tiny --protocol quick --data my_dataset"
    assert commands["dataset"] == run
    asked = ("vit_tiny", "my_model", "--extensions", "my_extension", "--protocol", "quick", "--data", "my_dataset")
    done = bench("run", *asked, *SHORT, in_folder=tmp_path)
    assert done.returncode == 0, done.stderr
    names = ("vit_tiny", "vit_tiny~my_extension", "my_model")
    records = [read_record(tmp_path / "results" / "short" / name / "seed0" / "record.json") for name in names]
    assert [record.status for record in records] == ["ok"] * 3
    assert {record.data.name for record in records} == {"my_dataset"}
    one_line(done, "my_extension does not fit my_model (Sequential has no blocks with an MLP)")


def test_a_measurement_and_a_runtime_measure_as_they_are_written(bench: Bench, tmp_path: Path) -> None:
    commands = written(bench, tmp_path, "measurement", "runtime")
    *_, image_size, only, name = commands["measurement"].split()
    assert (image_size, only, name) == ("32", "--only", "my_measurement")
    command = (
        "measure",
        "vit_tiny",
        "--image-size",
        "32",
        "--only",
        "my_measurement",
        "--only",
        "my_runtime",
        "--json",
    )
    done = bench(*command, in_folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["plugins"]["my_measurement"]["small"] > 0 and found["plugins"]["my_runtime"]["p50"] > 0


def test_a_package_is_installed_found_and_passes_its_own_test(bench: Bench, tmp_path: Path) -> None:
    (command,) = written(bench, tmp_path, "package").values()
    assert command.startswith("python -m pip install -e my_package && python -m bench run my_package")
    project = tomllib.loads((tmp_path / "my_package" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [f"{DISTRIBUTION}>=0.1"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    site = tmp_path / "site"
    subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(site), str(tmp_path / "my_package")], check=True, timeout=300
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    listed = json.loads(bench("models", "--json", in_folder=tmp_path, PYTHONPATH=path).stdout)
    assert "my_package" in {one["name"] for one in listed}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my_package"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout


def test_an_extension_is_as_the_contract_wants_it(bench: Bench, tmp_path: Path) -> None:
    written(bench, tmp_path, "extension")
    done = bench("check-plugin", "plugins/my_extension.py", "-q", in_folder=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("My Plugin",), "'My Plugin' is no name for a plugin: use small letters, digits and '_', a letter first"),
        (("mine", "--kind", "modle"), "unknown kind of plugin 'modle': did you mean model?"),
        (("taken",), "plugins/taken.py is there already: choose another name, or remove it"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_line(
    arguments: tuple[str, ...], line: str, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "taken.py").write_text("mine")
    done = bench("new-plugin", *arguments, in_folder=tmp_path)
    assert done.returncode == 2
    one_line(done, line)
    assert (tmp_path / "plugins" / "taken.py").read_text() == "mine"


def test_every_kind_says_how_to_try_it() -> None:
    assert all("NAME" in command and command.startswith("python -m ") for command in NEXT.values())

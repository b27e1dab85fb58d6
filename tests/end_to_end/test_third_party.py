"""Somebody else's package (tests/third_party) beside an installed bench: found, listed, run, measured, reported."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from installed import CHECKOUT, Installed

from bench.records.record import Record, read_record

PROJECT = CHECKOUT / "tests" / "third_party"
SETTINGS = ("data.image_size=16", "train.epochs=1", "train.limit=64", "data.test_limit=32", "name=tiny")
MODELS = ("texture_net", "texture_net+channel_attention", "efficientnet_lite0+channel_attention")


@pytest.fixture(scope="module")
def beside(installed: Installed) -> Installed:
    """bench's environment with the package in it; what the package depends on has to be there."""
    installed.install(PROJECT)
    return installed


@pytest.fixture(scope="module")
def ran(beside: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, after the models were run in it, and reported on."""
    folder = tmp_path_factory.mktemp("empty")
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    run = ("run", *MODELS, "--protocol", "quick", "--data", "textures", *settings, "--no-timing", "-q")
    for command in (run, ("report", "-q")):
        done = beside.run("bench", *command, in_folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


def listed(installed: Installed, what: str, folder: Path, **environment: str) -> Any:
    done = installed.run("bench", what, "--json", in_folder=folder, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_listed_with_its_version_and_its_parts(beside: Installed, tmp_path: Path) -> None:
    found = listed(beside, "plugins", tmp_path)
    assert found["problems"] == []
    own = {one["name"]: one for one in found["plugins"] if one["package"] == "bench-textures 0.3.0"}
    assert {name: one["place"] for name, one in own.items()} == {
        "texture_networks": "bench_textures.networks",
        "texture_pictures": "bench_textures.pictures",
    }
    assert own["texture_pictures"]["measurements"] == ["quarter_turn"]
    parts = {("models", "texture_net"), ("extensions", "channel_attention"), ("datasets", "textures")}
    assert {(what, one["name"]) for what, _ in parts for one in listed(beside, what, tmp_path)} >= parts


def record(folder: Path, model: str) -> Record:
    return read_record(folder / "results" / "tiny" / model.replace("+", "~") / "seed0" / "record.json")


def test_its_model_and_a_bundled_one_run_plain_and_with_its_extension_and_are_measured(ran: Path) -> None:
    records = [record(ran, model) for model in MODELS]
    assert [(one.status, one.data.name, one.model.name) for one in records] == [
        ("ok", "textures", model) for model in MODELS
    ]
    for one in records:
        assert one.environment and one.environment["bench"] and one.environment["git"] is None  # in no checkout
        (quantity,) = one.quantities
        assert quantity.key == "turn_kept" and 0 <= (quantity.value(one) or -1) <= 100
        assert one.plugins["quarter_turn"]["pictures"] == 32


def test_its_quantity_is_a_column_of_the_table_and_of_the_page_and_a_limit(beside: Installed, ran: Path) -> None:
    header, _, *rows = (line for line in (ran / "results/tiny/README.md").read_text().splitlines() if "|" in line)
    column = [cell.strip() for cell in header.split("|")].index("kept when turned (%)")
    assert re.fullmatch(r"\**\d+\.\d\**", rows[0].split("|")[column].strip())
    assert '"key":"turn_kept","label":"kept when turned (%)"' in (ran / "results/index.html").read_text()
    done = beside.run("bench", "recommend", "--min", "turn_kept=0%", "--json", in_folder=ran)
    assert done.returncode == 0, done.stderr
    assert {one["model"] for one in json.loads(done.stdout)["recommended"]} == set(MODELS)


def test_its_claim_is_judged(ran: Path) -> None:
    claims = (ran / "results/claims.md").read_text()
    confirmed = claims.partition("## Confirmed")[2].partition("\n## ")[0]
    assert "texture_net tells textures apart with fewer than 20,000 parameters. Here: 12,700 parameters," in confirmed
    assert "texture_net" in (ran / "results/findings.md").read_text()


def test_it_is_as_the_contract_wants_it(beside: Installed, tmp_path: Path) -> None:
    done = beside.run("bench", "check-plugin", "bench-textures", "-q", in_folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line[:1].strip()] == [
        "model texture_net",
        "extension channel_attention",
        "dataset textures",
        "measurement quarter_turn",
        "as the contract wants it",
    ]


def test_its_own_tests_pass(beside: Installed, tmp_path: Path) -> None:
    tests = shutil.copytree(PROJECT, tmp_path / "textures", ignore=shutil.ignore_patterns("src"))
    done = beside.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", in_folder=tests)
    assert done.returncode == 0, done.stdout


# What a later version of networks.py does wrong: in place of what, and what is said of it.
BROKEN = {
    "wants what no hook is given": (
        "def bench_models():", "def bench_models(registry):",
        r"bench_models is given \(\), and registry is none of these \(line \d+ of FILE\)",
    ),
    "builds for no size": (
        "num_classes, image_size, pretrained", "num_classes, pretrained",
        r"texture_net: build takes keyword arguments num_classes, image_size, pretrained; yours lacks image_size "
        r"\(line \d+ of FILE\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_one_that_is_broken_is_named_with_file_and_line_and_costs_that_plugin_alone(
    kind: str, beside: Installed, tmp_path: Path
) -> None:
    right, wrong, said = BROKEN[kind]
    project = shutil.copytree(PROJECT, tmp_path / "project")
    for part, before, after in (("pyproject.toml", "0.3.0", "0.4.0"), ("src/bench_textures/networks.py", right, wrong)):
        text = (project / part).read_text()
        assert before in text
        (project / part).write_text(text.replace(before, after, 1))
    later = tmp_path / "later"
    beside.install(project, "--no-deps", "--target", str(later))
    found = listed(beside, "plugins", tmp_path, PYTHONPATH=str(later))
    (problem,) = found["problems"]
    begins = "plugin texture_networks (bench_textures.networks, bench-textures 0.4.0) is left out: "
    place = re.escape(str(later / "bench_textures" / "networks.py"))
    assert re.fullmatch(f"{re.escape(begins)}ContractError: {said.replace('FILE', place)}", problem), problem
    (rest,) = (one for one in found["plugins"] if one["package"])
    assert (rest["name"], rest["package"]) == ("texture_pictures", "bench-textures 0.4.0")
    assert (rest["datasets"], rest["measurements"]) == (["textures"], ["quarter_turn"])
    assert {"digits", "textures"} <= {name for one in found["plugins"] for name in one["datasets"]}

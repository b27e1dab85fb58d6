"""An installed wheel has its name, its command, its plugins and protocols; test_third_party.py trains with one."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import PathDistribution
from pathlib import Path

from installed import CHECKOUT, Installed

from bench.files import DISTRIBUTION


def test_it_has_a_name_of_its_own_and_brings_bench_as_import_and_as_command(
    wheel: Path, installed: Installed, tmp_path: Path
) -> None:
    (folder,) = installed.site.glob("*.dist-info")
    its = PathDistribution(folder)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert its.name == project["name"] == DISTRIBUTION == "bench-image-models"
    assert wheel.name.startswith(f"bench_image_models-{project['version']}-")
    (command,) = its.entry_points
    assert (command.group, command.name, command.value) == ("console_scripts", "bench", "bench.__main__:main")
    assert {file.parts[0] for file in its.files or () if file.parts[0] not in ("..", folder.name)} == {"bench"}
    said = installed.run("bench", "--version", in_folder=tmp_path)
    assert said.stdout.split() == ["bench", project["version"]], said.stderr


def test_the_bundled_plugins_and_protocols_come_with_it(installed: Installed, tmp_path: Path) -> None:
    listed = json.loads(installed.run("bench", "plugins", "--json", in_folder=tmp_path).stdout)
    assert {"vgg", "densenet", "deit", "vit", "efficientnet_lite", "datasets"} <= {p["name"] for p in listed["plugins"]}
    assert all(plugin["place"].startswith(str(installed.site)) for plugin in listed["plugins"])
    protocols = json.loads(installed.run("bench", "protocols", "--json", in_folder=tmp_path).stdout)
    assert {"quick", "cifar10", "cifar10-scratch"} <= {protocol["name"] for protocol in protocols}


def test_the_parts_of_the_page_come_with_it(installed: Installed, tmp_path: Path) -> None:
    program = "from pathlib import Path; from bench.report.page.html import make; print(len(make(Path(), [])))"
    done = installed.run("python", "-c", program, in_folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30_000

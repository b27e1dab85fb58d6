"""The versions that are written down: of the published results, and the lower end of the range."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

CHECKOUT = Path(__file__).resolve().parent.parent


def pinned(name: str) -> dict[str, Version]:
    """The exact versions in a file of constraints/."""
    lines = (CHECKOUT / "constraints" / name).read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {package: Version(version) for package, version in pins}


def declared() -> dict[str, Requirement]:
    """What bench needs to run, its extras for weights and data frames too."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["pretrained"], *extras["export"]]
    return {requirement.name: requirement for requirement in map(Requirement, texts)}


def test_the_published_versions_are_those_of_packages_that_are_declared_and_admitted() -> None:
    published, requirements = pinned("published.txt"), declared()
    for name, version in published.items():
        assert version in requirements[name].specifier, name
    assert {"torch", "torchvision", "timm", "fvcore", "numpy", "scikit-learn"} <= published.keys()


def test_the_oldest_versions_are_the_lower_ends_of_the_range() -> None:
    requirements = declared()
    for name, version in pinned("oldest.txt").items():
        assert str(requirements[name].specifier) == f">={version}".removesuffix(".0"), name

"""A place for the tests of faults to work in, what is reached there where nothing goes wrong; an installed bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulted import PLAIN, Bench, Started, compared, furnish, record
from installed import CHECKOUT, Installed, built


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with both plugins and the protocol."""
    return furnish(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, bench: Bench) -> dict[str, dict[str, Any]]:
    """What each model comes to, trained alone, where nothing goes wrong."""
    folder = furnish(tmp_path_factory.mktemp("undisturbed"))
    done = bench(*PLAIN, "tiny", "other", in_folder=folder)
    assert done.returncode == 0, done.stderr
    return {model: compared(record(folder, model)) for model in ("tiny", "other")}


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., Started]]:
    begun: list[Started] = []

    def call(*arguments: str, **environment: str) -> Started:
        begun.append(Started(place, *arguments, **environment))
        return begun[-1]

    yield call
    for one in begun:
        one.process.kill()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return built(CHECKOUT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment of its own in which that wheel is installed."""
    return Installed.of(wheel, tmp_path_factory.mktemp("installed") / "environment")

"""Every public name says what it is, with an example, and the examples are run, in the order in which one would."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import bench

# What others look at has to be there first.
FIRST = ["run", "Outcome"]
NAMES = FIRST + [name for name in bench.__all__ if name not in FIRST]
# pluggy's own, which is shown in every example of a plugin.
ELSEWHERE = {"hookimpl"}


@pytest.mark.slow
def test_the_example_of_every_public_name_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name in NAMES:
        found = finder.find(getattr(bench, name), name, globs={"bench": bench})
        examples = [example for one in found for example in one.examples]
        assert examples or name in ELSEWHERE, f"bench.{name} has no example"
        for one in found:
            runner.run(one)
    assert runner.summarize(verbose=False).failed == 0


def test_every_public_name_has_words_of_its_own() -> None:
    for name in bench.__all__:
        assert len(inspect.getdoc(getattr(bench, name)) or "") > 40, name

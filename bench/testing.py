"""For the tests of plugin authors: the checks of `python -m bench check-plugin`, as one call.

from bench.testing import assert_sound

def test_my_model():
    assert_sound("mine", plugins=["plugins"])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.api import check_plugin as check_plugin


def assert_sound(name: str, *, plugins: Sequence[str | Path] = ()) -> None:
    """Hold a plugin, its file or package, or one thing that it adds against the contract.

    Raises AssertionError with a line for each thing that is not as the contract wants it, and says what to do;
    RequestError where there is nothing of that name.
    """
    wrong = [
        f"{part.kind} {part.name}: {one.what}: {one.said}"
        for part, findings in check_plugin(name, plugins=plugins).items()
        for one in findings
        if one.ok is False
    ]
    if wrong:
        raise AssertionError("\n".join(wrong))

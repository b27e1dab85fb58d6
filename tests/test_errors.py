"""Mistakes are answered in one line that says what to do."""

from __future__ import annotations

import pickle

import pytest

from bench import __main__ as command
from bench.errors import RequestError, unknown


def test_an_unknown_name_is_answered_with_the_nearest_and_with_what_lists_them() -> None:
    said = str(unknown("model", "vgg91", ["vgg19", "vgg19_bn", "vit_tiny"], "python -m bench models"))
    assert "unknown model 'vgg91'" in said
    assert "did you mean vgg19" in said
    assert "`python -m bench models` lists them" in said


def test_a_name_near_to_none_gets_no_suggestion() -> None:
    said = str(unknown("model", "zzz", ["vgg19"], "python -m bench models"))
    assert "did you mean" not in said


def test_a_refusal_is_one_line_whatever_was_raised(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.refuse("first\n  second\n") == 2
    assert capsys.readouterr().err == "bench: first second\n"


def test_a_refusal_passes_between_processes_unchanged() -> None:
    assert str(pickle.loads(pickle.dumps(RequestError("say this")))) == "say this"

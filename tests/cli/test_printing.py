"""What is printed does nothing to a terminal, whoever wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.printing import plain, say, warn
from bench.cli.progress import PlainLines
from bench.events import Note


@given(st.text())
def test_control_characters_are_written_out_and_nothing_else_changes(text: str) -> None:
    shown = plain(text)
    assert not any(ord(one) < 32 and one not in "\t\n" for one in shown)
    assert all(ord(one) < 127 or ord(one) > 159 for one in shown)
    if shown != text:
        assert any(ord(one) < 32 or 127 <= ord(one) <= 159 for one in text)


def test_escapes_of_records_paths_and_plugins_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("\x1b[31mred")
    warn(["\x1b]0;title\x07"])
    PlainLines(quiet=False)(Note("\x1b[2J"))
    out, err = capsys.readouterr()
    assert out == "\\x1b[31mred\n"
    assert err == "\\x1b]0;title\\x07\n\\x1b[2J\n"

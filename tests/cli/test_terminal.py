"""What is printed fits the terminal, and says what it left out for that."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabulate import tabulate

from bench.cli.terminal import fitted

HEADERS = ["model", "test top-1 (%)", "GMACs", "status"]
ROWS = [["tiny", "42.00 [32.80, 51.79]", "0.002", "ok"], ["other", "", "1.5", "oom: 3 GB"]]
TABLE = tabulate(ROWS, HEADERS, disable_numparse=True)


def test_a_table_that_fits_stays_as_it_is() -> None:
    text = f"{TABLE}\n\nA sentence."
    assert fitted(text, 80) == text


def test_in_a_narrow_terminal_whole_columns_are_left_out_and_what_went_wrong_is_not() -> None:
    assert fitted(f"{TABLE}\n\nA sentence that is long enough to be wrapped.", 29).splitlines() == [
        "model    GMACs    status",
        "-------  -------  ---------",
        "tiny     0.002    ok",
        "other    1.5      oom: 3 GB",
        "not shown in so narrow a",
        "terminal: test top-1 (%); a",
        "wider one, a pipe or --json",
        "has all",
        "",
        "A sentence that is long",
        "enough to be wrapped.",
    ]


def test_words_are_cut_where_there_is_room_for_some() -> None:
    about = "from scratch, on two cores, in some minutes"
    text = tabulate([["quick", "b2248c", about], ["probe", "54aa8e", "short"]], ["name", "fingerprint", "description"])
    assert fitted(text, 50).splitlines() == [
        "name    fingerprint    description",
        "------  -------------  ---------------------------",
        "quick   b2248c         from scratch, on two cores…",
        "probe   54aa8e         short",
    ]


words = st.text("abcdefgh", min_size=1, max_size=12)


@given(
    st.lists(st.lists(words, min_size=4, max_size=4), min_size=1, max_size=4),
    st.lists(words, max_size=30),
    st.integers(16, 90),
)
def test_no_line_is_wider_and_no_word_is_lost(rows: list[list[str]], sentence: list[str], width: int) -> None:
    headers = ["first", "second", "third", "status"]
    text = f"{tabulate(rows, headers, disable_numparse=True)}\n\n{' '.join(sentence)}"
    lines = fitted(text, width).split("\n")
    assert all(len(line) <= width for line in lines)
    table, _, rest = "\n".join(lines).partition("\n\n")
    assert rest.split() == sentence
    assert all(header in table for header in headers)  # as a column, or in what was left out
    shown = table.split("\n")[0].split()
    assert [shown.index(one) < shown.index(two) for one, two in pairwise(h for h in headers if h in shown)] == [
        True
    ] * (len(shown) - 1)


@pytest.mark.slow
def test_a_real_terminal_of_eighty_columns_has_no_broken_line() -> None:
    here, there = pty.openpty()
    command = [sys.executable, "-m", "bench", "models"]
    done = subprocess.Popen(command, stdout=there, env={**os.environ, "COLUMNS": "80"})
    os.close(there)
    shown = b""
    while True:
        try:
            part = os.read(here, 65536)
        except OSError:  # how the other end's being closed is told here
            break
        if not part:
            break
        shown += part
    os.close(here)
    assert done.wait(60) == 0
    lines = shown.decode().splitlines()
    assert "vit_tiny" in shown.decode() and max(map(len, lines)) <= 80

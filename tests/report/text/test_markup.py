"""No name, however odd, breaks a table or changes what is around it."""

from __future__ import annotations

import re

import pytest
import tabulate
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.report.text.markup import Cell, Table, latex, markdown, plain, written

NAMES = st.text(st.sampled_from("ab1_*`|\\<>&[]()!~$#%^{}-+=.:/ \n\t±é猫"), max_size=12) | st.text(max_size=8)
ODD = ["a|b", "_x_", "a_b", "100%", "<script>", "&lt;", "[a](b)", "`c`", "\\", "\\\\|", "1. x", "# h", "- x", "a\nb"]

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def cells(text: str) -> list[list[str]]:
    """The texts of a Markdown table's cells as a reader sees them; fails where a cell holds more than text."""
    found: list[list[str]] = []
    for token in MARKDOWN.parse(text):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline":
            assert {child.type for child in token.children or []} <= {"text", "text_special"}
            found[-1].append("".join(child.content for child in token.children or []))
        else:
            assert token.type.startswith(("table_", "thead_", "tbody_", "tr_", "th_", "td_"))
    return found


def odd(test):
    """With the examples that are likeliest to break something."""
    for name in ODD:
        test = example([name])(test)
    return test


@odd
@given(st.lists(NAMES, min_size=1, max_size=3))
def test_in_markdown_every_name_is_read_as_it_is(names: list[str]) -> None:
    table = Table(["model", "value"], [[Cell(name), Cell("1")] for name in names])
    assert cells(written(table, "markdown"))[1:] == [[plain(name), "1"] for name in names]


@odd
@given(st.lists(NAMES, min_size=1, max_size=3))
def test_in_latex_every_special_character_is_escaped(names: list[str]) -> None:
    text = written(Table(["model", "value"], [[Cell(name), Cell("1")] for name in names]), "latex")
    rows = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert len(rows) == len(names)
    for name, row in zip(names, rows, strict=True):
        cell = re.fullmatch(r"(.*) & +1 \\\\", row)[1].strip()
        assert cell == latex(name)
        bare = re.sub(
            r"\\text(backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\\[{}&%$#_]|\{\[\}|\{\]\}", "", cell
        )
        bare = re.sub(r"\$(\\pm|\\times|\\approx|\^\\dagger)\$|\\textsuperscript\{6\}|\\dots\{\}", "", bare)
        assert not set(bare) & set("\\{}&%$#_~^<>|[]")


@example("# h")
@example("- x")
@given(NAMES)
def test_a_heading_or_sentence_stays_one(name: str) -> None:
    tokens = MARKDOWN.parse(f"## {markdown(name)}\n\nafter")
    assert [token.type for token in tokens][-3:] == ["paragraph_open", "inline", "paragraph_close"]
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2"]
    listed = MARKDOWN.parse(f"- {markdown(name)}\n\nafter")
    assert [token.type for token in listed].count("list_item_open") == 1
    assert "heading_open" not in [token.type for token in listed]


def test_the_best_is_bold_and_a_tie_is_marked_in_every_style() -> None:
    table = Table(["m", "v"], [[Cell("a"), Cell("9", "best")], [Cell("b"), Cell("8", "tie")]])
    assert "**9**" in written(table, "markdown")
    assert "≈ 8" in written(table, "markdown")
    assert "\\textbf{9}" in written(table, "latex")
    assert "$\\approx$ 8" in written(table, "latex")
    assert "* 9" in written(table, "plain")
    assert "≈ 8" in written(table, "plain")


def test_a_table_is_the_same_wherever_wide_letters_are_counted_and_leaves_tabulate_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(["name", "n"], [[Cell("猫"), Cell("1")]])
    texts = set()
    for wide in (True, False):
        monkeypatch.setattr(tabulate, "WIDE_CHARS_MODE", wide)
        texts.add(written(table, "plain"))
        assert tabulate.WIDE_CHARS_MODE is wide
    assert len(texts) == 1

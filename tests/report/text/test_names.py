"""Short names: what tells two models apart is never what is left out."""

from __future__ import annotations

from bench.report.text.names import begun, distinct, shown


def test_names_that_differ_are_shown_differently() -> None:
    names = [f"vit_tiny:patch_size={size},drop_path_rate=0.15,global_pool=avg" for size in (8, 16)]
    assert len(set(distinct(names, 20))) == 2
    assert shown("a\nb\x00c") == "a b c"
    assert shown("abcdefghij", 6) == "ab…hij"
    assert begun("automobile", 6) == "autom…"


def test_an_option_in_which_names_differ_is_whole_and_what_they_share_goes() -> None:
    names = [f"token_learner_vit_tiny:after={after},tokens=4" for after in (0.25, 0.5, 0.75)]
    short = distinct(["vit_tiny", *names], 28)
    assert short[0] == "vit_tiny"
    for after, text in zip((0.25, 0.5, 0.75), short[1:], strict=True):
        assert f":after={after}" in text and "tokens" not in text
        assert text.startswith("token_learn") and len(text) <= 28
    assert distinct(names, 60) == names


def test_extensions_are_shortened_like_options() -> None:
    names = [f"timm/vit_small_patch16_224+token_learner:after={after},tokens=4" for after in (0.5, 0.75)]
    short = distinct(names, 30)
    assert [text.split("…")[1].split(",")[0] for text in short] == [":after=0.5", ":after=0.75"]


def test_a_name_without_options_loses_its_middle_unless_another_would_look_alike() -> None:
    assert distinct(["n" * 80], 20) == [f"{'n' * 9}…{'n' * 10}"]
    alike = [f"{'a' * 20}{letter}{'b' * 20}" for letter in "xy"]
    assert len(set(distinct(alike, 12))) == 2

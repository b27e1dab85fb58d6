"""A model's name is the same model's in whatever order its options are written."""

from __future__ import annotations

from itertools import permutations

import pytest

from bench.plugins import load_plugins
from bench.records.model_names import in_one_order, is_same

OPTIONS = ["stride=4", "mask_weight=0", "drop_path_rate=1e-05"]


def test_options_are_in_the_order_in_which_records_have_them() -> None:
    plugins = load_plugins()
    for own in permutations(OPTIONS):
        text = f"fdvit_ti:{','.join(own)}+token_learner:tokens=8,after=0.5"
        assert plugins.model(text).name == in_one_order(text) == in_one_order(in_one_order(text))
        assert is_same(text, plugins.model(text).name)


@pytest.mark.parametrize(
    ("written", "ordered"),
    [
        ("vit_tiny", "vit_tiny"),
        ("timm/resnet18:b=[2,1],a=x", "timm/resnet18:a=x,b=[2,1]"),
        ("m:b=1e+16,a1=2,a=3+e:d=1,c=2", "m:a=3,a1=2,b=1e+16+e:c=2,d=1"),
    ],
)
def test_lists_and_numbers_stay_whole(written: str, ordered: str) -> None:
    assert in_one_order(written) == ordered


def test_other_values_and_other_extensions_are_other_models() -> None:
    assert not is_same("m:a=1,b=2", "m:a=2,b=1")
    assert not is_same("m+e:a=1", "m:a=1+e")

"""A request is the same whether the command line fills it in, or a Python caller names what differs by keywords."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import MeasureRequest, Place, RequestError, RunOptions, RunRequest
from bench.request import request_from


def test_keywords_find_their_place_in_a_request() -> None:
    given = {"protocol": "quick", "seeds": [0, 1], "compile": True, "results": "elsewhere", "plugins": ["mine"]}
    assert request_from(RunRequest, "vit_tiny", given) == RunRequest(
        models=("vit_tiny",),
        protocol="quick",
        seeds=(0, 1),
        options=RunOptions(compile=True),
        place=Place(Path("elsewhere"), plugins=(Path("mine"),)),
    )


def test_several_models_are_a_list_and_none_is_for_all() -> None:
    assert request_from(MeasureRequest, ["a", "b"], {"image_size": 32}) == MeasureRequest(("a", "b"), image_size=32)
    assert request_from(RunRequest, (), {"all_models": True}) == RunRequest(all_models=True)


def test_a_whole_request_is_taken_as_it_is_and_nothing_beside_it() -> None:
    request = RunRequest(("vgg19",), fresh=True)
    assert request_from(RunRequest, request, {}) is request
    with pytest.raises(RequestError, match="device: say it in the RunRequest"):
        request_from(RunRequest, request, {"device": "cpu"})


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"protokol": "quick"}, "unknown parameter 'protokol': did you mean protocol"),
        ({"place": Place()}, "unknown parameter 'place'"),
        ({"seeds": 0}, "seeds: Input should be a valid tuple"),
        ({"timeout": "soon"}, "timeout: Input should be a valid number"),
    ],
)
def test_a_wrong_keyword_is_answered_in_a_line(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says) as error:
        request_from(RunRequest, "vgg19", parameters)
    assert "\n" not in str(error.value)

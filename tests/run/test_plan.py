"""Which trials a request means, and where a change of the protocol needs a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import RequestError
from bench.data.cache import Stored
from bench.plugins import Registry
from bench.protocol import Protocol, load_protocol
from bench.request import Checked, Devices, Place, Ready, RunOptions, RunRequest
from bench.run import plan
from bench.run.slots import Slots


@pytest.mark.parametrize(
    ("overrides", "data", "unnamed"),
    [
        ((), None, False),
        (("train.epochs=5",), None, True),
        ((), "digits", True),
        (("train.epochs=5", "name=mine"), None, False),
        ((" name = mine", "train.epochs=5"), "digits", False),
    ],
)
def test_a_change_that_is_given_a_name_needs_no_other(
    overrides: tuple[str, ...], data: str | None, unnamed: bool
) -> None:
    assert plan.is_unnamed_change(RunRequest(overrides=overrides, data=data)) is unnamed


def test_every_seed_s_trials_come_in_the_order_of_asking_each_with_its_folder_and_how_it_is_run(
    registry: Registry, tiny_protocol: Callable[..., Protocol], digits: Stored
) -> None:
    place, options = Place(device="cpu"), RunOptions(compile=True)
    request = RunRequest(("tiny:width=4", "tiny", "tiny"), seeds=(3, 0, 3), options=options, place=place)
    protocol = tiny_protocol()
    models, left_out = plan.models_asked(request, registry, protocol)
    devices, where = Devices("cpu", ("cpu",), 2), Slots(("cpu",), 1, 2)
    specs = plan.trials(request, models, protocol, Ready(digits, {}), devices, where, Path("results/quick"), registry)
    assert left_out == []
    assert [(spec.model, spec.seed) for spec in specs] == [
        ("tiny:width=4", 3), ("tiny", 3), ("tiny:width=4", 0), ("tiny", 0),
    ]  # fmt: skip
    assert specs[0].folder == Path("results/quick/tiny@width=4/seed3").absolute()
    assert [Path(place).name for place in specs[0].plugins or ()] == ["tiny_model.py"]
    assert all((spec.place, spec.options, spec.weights) == (place, options, None) for spec in specs)


def test_weights_are_named_for_a_model_with_or_without_its_options() -> None:
    models = ["vit_tiny:patch_size=8", "vit_tiny", "vgg19"]
    both = plan.named_weights(["vit_tiny=/a=b.pt"], models)
    assert both == {"vit_tiny:patch_size=8": Path("/a=b.pt"), "vit_tiny": Path("/a=b.pt")}
    one = plan.named_weights(["vit_tiny:patch_size=8=/c.pt"], models)
    assert one == {"vit_tiny:patch_size=8": Path("/c.pt")}
    assert plan.named_weights([], models) == {}


@pytest.mark.parametrize("text", ["vit_tiny", "/a.pt", "densenet121=/a.pt", "vit=/a.pt"])
def test_weights_for_a_model_that_is_not_run_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="write MODEL=FILE, MODEL being one that is run: vit_tiny"):
        plan.named_weights([text], ["vit_tiny"])


def test_one_line_names_every_model_without_an_option_that_others_get() -> None:
    protocol = load_protocol("quick")
    (key,) = protocol.model.options
    having, without = Checked(None, (key,)), Checked(None, ())
    (line,) = plan.unequal_options(protocol, {"vit": having, "vgg": without, "densenet": without})
    assert f"{key} = " in line and "no option of vgg, densenet;" in line
    assert plan.unequal_options(protocol, {"vit": having}) == plan.unequal_options(protocol, {"vgg": without}) == []

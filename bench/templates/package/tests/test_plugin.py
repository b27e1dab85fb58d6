"""The plugin is found by its entry point, and its model is as the contract wants it."""

from bench.plugins import load_plugins
from bench.testing import assert_sound


def test_the_model_is_found():
    _, plugin = load_plugins().models["mine"]
    assert plugin.place == "module_of_mine"


def test_the_model_is_sound():
    assert_sound("mine")

"""What bench wants of the parts, and what they promise beyond that."""

from bench.plugins import load_plugins
from bench.testing import assert_sound

from bench_textures.pictures import CLASSES, split


def test_the_model_is_as_bench_wants_it():
    assert_sound("texture_net")


def test_its_plugins_are_found_by_their_entry_points():
    found = load_plugins()
    assert found.problems == []
    assert {"texture_networks", "texture_pictures"} <= set(found.plugins)


def test_each_class_has_as_many_pictures():
    pictures = split(12, 16, seed=0)
    assert pictures.pictures.shape == (12, 16, 16, 3)
    assert [list(pictures.labels).count(number) for number in range(len(CLASSES))] == [3] * 4

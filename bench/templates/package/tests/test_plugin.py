"""The plugin is found by its entry point, and its model is what the contract wants."""

import torch
from bench.plugins import load_plugins


def test_the_model_is_found_and_gives_features():
    spec, plugin = load_plugins().models["mine"]
    assert plugin.place == "module_of_mine"
    for image_size in (32, 64):
        backbone = spec.build(num_classes=10, image_size=image_size, pretrained=False).eval()
        features = backbone(torch.rand(2, 3, image_size, image_size))
        assert features.ndim == 2 and len(features) == 2

"""A new layer between the blocks of a transformer, without touching the names of what is there.

Pretrained weights, `last_block` and the model's own forward pass go on as they were: the blocks stay
an `nn.Sequential`, and the layer stands among them under a name in place of a number.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def insert_after(model: nn.Module, block: int, name: str, layer: nn.Module) -> None:
    """Put `layer` behind `model.blocks.<block>`, as `model.blocks.<name>`.

    `model.blocks` is an `nn.Sequential` whose blocks are named by their numbers, as in timm's
    VisionTransformer and those that derive from it; other layers inserted before do not change what
    `block` means. Raises TypeError for a model of another kind, ValueError where there is no such
    block or the name is taken.
    """
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Sequential):
        raise TypeError(f"{type(model).__name__} has no blocks in sequence to insert a layer between")
    before = dict(blocks.named_children())
    if str(block) not in before or name in before:
        raise ValueError(f"no block {block}" if str(block) not in before else f"there is a layer {name} already")
    layers = OrderedDict[str, nn.Module]()
    for key, child in before.items():
        layers[key] = child
        if key == str(block):
            layers[name] = layer
    model.blocks = nn.Sequential(layers)

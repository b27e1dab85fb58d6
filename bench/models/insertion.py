"""A new layer between the blocks of a transformer, without touching the names of what is there.

Pretrained weights, `last_block` and the model's own forward pass go on as they were: the blocks stay
an `nn.Sequential`, and the layer stands among them under a name in place of a number.
"""

from __future__ import annotations

from collections import OrderedDict

from timm.models.vision_transformer import VisionTransformer
from torch import nn


def why_not_between(model: nn.Module) -> str:
    """Why nothing can be done to a model's tokens between its blocks; empty where it can.

    It can in timm's VisionTransformer (ViT, DeiT with and without a distillation token), as it was built: what another
    extension has changed has no grid of patches any more. Further blocks, heads and poolings make no difference.
    """
    kind, blocks = type(model).__name__, getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Sequential) or not len(blocks):
        return f"{kind} has no sequence of blocks"
    if not isinstance(model, VisionTransformer):
        return f"{kind} is no VisionTransformer of timm's, whose tokens are a grid of patches in every block"
    ours = [name for name, _ in blocks.named_children() if not name.isdecimal()]
    if ours or type(blocks) is not nn.Sequential or not all(type(one).__module__.startswith("timm.") for one in blocks):
        return f"its tokens are changed already{f' by {ours[0]}' if ours else ''}: they are no grid of patches any more"
    return ""


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

"""The last block computes only the tokens that are read, and what is read does not change."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import fx, nn

from bench.train.prefix.tokens import ReadTokens, spare_unread_tokens

TINY = {"img_size": 32, "patch_size": 8, "num_classes": 0, "depth": 2}


class Leaves(fx.Tracer):
    """Takes every block and every norm as one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name.startswith("blocks.") or not list(m.children())


def spared_in(model: nn.Module) -> dict[str, nn.Module]:
    return spare_unread_tokens(Leaves().trace(model), dict(model.named_modules()))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("changes", [{}, {"qkv_bias": False}, {"qk_norm": True, "init_values": 0.1}], ids=str)
def test_the_wanted_tokens_and_all_gradients_are_the_blocks_own(count: int, changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    block = timm.models.vision_transformer.Block(24, 3, norm_layer=nn.LayerNorm, **({"qkv_bias": True} | changes))
    block = block.double().train()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    tokens = torch.randn(2, 7, 24, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, count, 24, dtype=torch.float64)
    whole, read = block(tokens)[:, :count], ReadTokens(block, count)(tokens)
    assert read.shape == (2, count, 24)
    torch.testing.assert_close(read, whole)
    wanted = [tokens, *block.parameters()]
    expected = torch.autograd.grad((whole * weights).sum(), wanted)
    torch.testing.assert_close(torch.autograd.grad((read * weights).sum(), wanted), expected)


@pytest.mark.parametrize(("name", "count"), [("deit_tiny_distilled_patch16_224", 2), ("vit_tiny_patch16_224", 1)])
def test_the_last_block_before_the_read_tokens_is_found(name: str, count: int) -> None:
    spared = spared_in(timm.create_model(name, **TINY))
    assert list(spared) == ["blocks.1"]
    (block,) = spared.values()
    assert isinstance(block, ReadTokens)
    assert block.count == count


@pytest.mark.parametrize("changes", [{"global_pool": "avg"}, {"proj_drop_rate": 0.1}, {"attn_drop_rate": 0.1}], ids=str)
def test_a_block_is_left_alone_where_all_tokens_are_read_or_dropout_draws_for_each(changes: dict[str, Any]) -> None:
    assert spared_in(timm.create_model("vit_tiny_patch16_224", **TINY, **changes)) == {}

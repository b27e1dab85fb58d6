"""Spares the last block of a vision transformer what nothing reads.

A classifier that reads the class token (and the distillation token) of the last block needs that block's
queries, its projection and its MLP for those tokens alone; keys and values it needs of all. The other rows
reach no logit and get no gradient, so leaving them out changes nothing but the time: where the frozen prefix
is cached, the last block is nearly all that remains of a step.
"""

from __future__ import annotations

import operator
from typing import Any, TypeGuard

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import fx, nn
from torch.nn import functional


class ReadTokens(nn.Module):
    """A timm block of which the first `count` tokens are wanted: (N, T, C) → (N, count, C). Shares its layers."""

    def __init__(self, block: Block, count: int) -> None:
        super().__init__()
        self.block = block
        self.count = count

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        block, wanted = self.block, tokens[:, : self.count]
        wanted = wanted + block.drop_path1(block.ls1(self._attention(block.attn, block.norm1(tokens))))
        read: torch.Tensor = wanted + block.drop_path2(block.ls2(block.mlp(block.norm2(wanted))))
        return read

    def _attention(self, attention: Any, tokens: torch.Tensor) -> torch.Tensor:
        """What timm's Attention gives for the wanted tokens; all tokens are attended to."""
        width, weight, bias = attention.attn_dim, attention.qkv.weight, attention.qkv.bias
        pictures, heads = len(tokens), (attention.num_heads, attention.head_dim)
        queries = functional.linear(tokens[:, : self.count], weight[:width], None if bias is None else bias[:width])
        queries = queries.reshape(pictures, -1, *heads).transpose(1, 2)
        pairs = functional.linear(tokens, weight[width:], None if bias is None else bias[width:])
        keys, values = pairs.reshape(pictures, -1, 2, *heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(
            attention.q_norm(queries), attention.k_norm(keys), values, scale=attention.scale
        )
        given: torch.Tensor = attention.proj(attention.norm(mixed.transpose(1, 2).flatten(2)))
        return given


def spare_unread_tokens(graph: fx.Graph, modules: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """For blocks of the trace whose output goes through a layer norm and is then read at some first tokens alone:
    by their path, the module that computes only these. `modules` are the trace's, by path."""
    spared: dict[str, nn.Module] = {}
    for node in graph.nodes:
        block = modules[str(node.target)] if node.op == "call_module" else None
        if not _is_plain(block) or len(node.users) != 1:
            continue
        (norm,) = node.users
        if norm.op != "call_module" or not isinstance(modules[str(norm.target)], nn.LayerNorm):
            continue
        read = [_token_read(user) for user in norm.users]
        if read and None not in read:
            spared[str(node.target)] = ReadTokens(block, 1 + max(index for index in read if index is not None))
    return spared


def _is_plain(module: nn.Module | None) -> TypeGuard[Block]:
    """Whether it is timm's plain block, without anything that draws random numbers for each token or mixes them."""
    return (
        type(module) is Block
        and type(module.attn) is Attention
        and module.attn.gate is None
        and all(part.p == 0 for part in module.modules() if isinstance(part, nn.Dropout))
    )


def _token_read(node: fx.Node) -> int | None:
    """i where the node is `tokens[:, i]`, i ≥ 0; else None."""
    if node.op != "call_function" or node.target is not operator.getitem:
        return None
    match node.args[1]:
        case (slice(start=None, stop=None, step=None), int(index)) if index >= 0:
            return index
    return None

"""Token merging (ToMe): in every block, the tokens that are most alike become one.

Bolya, Fu, Dai, Zhang, Feichtenhofer and Hoffman: Token Merging: Your ViT But Faster, ICLR 2023 (arXiv:2210.09461).
Between attention and MLP of each block, r tokens go (section 3):

- The tokens are parted in turn into A and B. Each of A is held against all of B by the cosine of the keys, their mean
  over the heads; the r of A with the most similar partner are merged into it. Class and distillation tokens are in
  neither.
- A token that stands for several patches is their mean: its size is how many they are. Attention is proportional,
  softmax(QKᵀ/√d + log s): a key that stands for s patches counts as s keys.
- r is the same in every block, falls evenly from 2r to 0, rises from 0 to 2r, or is given for each block; never more
  than half of the tokens that may go.

There is nothing to learn: it works on a trained model as it is, and in training. What the tokens' sizes are is handed
from block to block, hidden nowhere, so that a frozen prefix can be computed once. Where the features are made of all
tokens (a mean, an attention pool), each patch has its merged token again behind the last block.
"""

import functools
from types import SimpleNamespace

from bench import ExtensionSpec, RequestError, hookimpl

# How r changes from the first block to the last: as the authors' `inflect`.
SCHEDULES = {"constant": 0, "decreasing": -1, "increasing": 1}


def merging(keys, r, prefix):
    """Which tokens merge, of `keys` (N, T, C), r of them, the first `prefix` tokens left alone.

    Gives a function that makes of values a token, (N, T, D), their sums over each new token, (N, T − r, D), and the
    new token of each old one, (N, T).
    """
    import torch

    first = prefix % 2  # of the patches, where A begins: it has the even positions of the whole sequence
    with torch.no_grad():
        keys = keys / keys.norm(dim=-1, keepdim=True)
        a, b = keys[:, prefix + first :: 2], keys[:, prefix + 1 - first :: 2]
        best, partner = (a @ b.transpose(1, 2)).max(dim=-1)
        order = best.argsort(dim=-1, descending=True)
        gone, kept = order[:, :r], order[:, r:].sort(dim=-1).values
        into = partner.gather(1, gone)

    def merged(values):
        def rows(indices):
            return indices.unsqueeze(-1).expand(-1, -1, values.shape[-1])

        a, b = values[:, prefix + first :: 2], values[:, prefix + 1 - first :: 2]
        b = b.scatter_add(1, rows(into), a.gather(1, rows(gone)))
        return torch.cat([values[:, :prefix], a.gather(1, rows(kept)), b], dim=1)

    def new_places():
        places = torch.arange(keys.shape[1], device=keys.device).repeat(len(keys), 1)
        of_b = prefix + kept.shape[1]  # where B begins behind what is kept of A
        ranks = torch.arange(kept.shape[1], device=keys.device).expand_as(kept)
        of_a = torch.empty_like(order).scatter(1, kept, prefix + ranks).scatter(1, gone, of_b + into)
        places[:, prefix + first :: 2] = of_a
        places[:, prefix + 1 - first :: 2] = of_b + torch.arange(b.shape[1], device=keys.device)
        return places

    return merged, new_places


@functools.cache
def modules():
    """The module classes, defined at the first call: listing extensions is not to import torch."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Merging(nn.Module):
        """What a timm Block becomes: a base of its class. `r` tokens merge in it, none of the first `prefix`."""

        def forward(self, x, sizes=None, places=None):
            """Tokens (N, T, D), their sizes (N, T, 1), None where all are 1, and the token of each patch (N, P), None
            where nobody asks → the same, of T − r tokens."""
            attended, keys = self.attention(self.norm1(x), sizes)
            x = x + self.drop_path1(self.ls1(attended))
            if self.r:
                merged, new_places = merging(keys, self.r, self.prefix)
                sizes = torch.ones_like(x[..., :1], dtype=torch.float32) if sizes is None else sizes
                sums, sizes = merged(x * sizes), merged(sizes)
                x = (sums / sizes).to(x.dtype)
                places = None if places is None else new_places().gather(1, places)
            x = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
            return x, sizes, places

        def attention(self, x, sizes):
            """What timm's Attention gives, proportional to the sizes; and the keys, their mean over the heads."""
            own = self.attn
            q, k, v = own.qkv(x).unflatten(2, (3, own.num_heads, own.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)
            q, k = own.q_norm(q), own.k_norm(k)
            more = None if sizes is None else sizes.to(q.dtype).log().transpose(1, 2).unsqueeze(1)
            mixed = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=more, dropout_p=own.attn_drop.p if own.training else 0.0, scale=own.scale
            )
            mixed = own.norm(mixed.transpose(1, 2).flatten(2))
            if own.gate is not None:
                mixed = mixed * own.gate(x).sigmoid()
            return own.proj_drop(own.proj(mixed)), k.mean(1)

    class MergingBlocks(nn.Sequential):
        """The blocks, handing on sizes; `whole` gives each patch its merged token again at the end."""

        whole = False

        def forward(self, x):
            sizes, places = None, None
            if self.whole:
                places = torch.arange(self.tokens, device=x.device).repeat(x.shape[0], 1)
            for block in self:
                given = block(x, sizes, places)
                x, sizes, places = given[0], given[1], given[2]
            return x.gather(1, places.unsqueeze(-1).expand(-1, -1, x.shape[-1])) if self.whole else x

    return SimpleNamespace(Merging=Merging, MergingBlocks=MergingBlocks)


def schedule_of(r, schedule, depth):
    """How many tokens merge in each of so many blocks."""
    if isinstance(r, (list, tuple)):
        return [*r, *[0] * (depth - len(r))]
    least = int(r * (1 - SCHEDULES[schedule]))
    step = (2 * r - 2 * least) / max(1, depth - 1)
    return [int(least + step * block) for block in range(depth)]


def apply(model, *, image_size, r=0, schedule="constant"):
    """`r`: tokens that merge in each block, or a list, a number a block; 0: as many as leave half of the patches behind
    the last block (8 of 14 × 14 patches in 12 blocks, as in the paper)."""
    depth, (rows, columns) = len(model.blocks), model.patch_embed.grid_size
    several = isinstance(r, (list, tuple))
    if not all(type(number) is int and number >= 0 for number in (r if several else [r])) or (
        several and len(r) > depth
    ):
        raise RequestError(
            f"token_merging: r={r} must be a whole number, 0 or more, or a list of at most {depth}, one a block"
        )
    if schedule not in SCHEDULES or (several and schedule != "constant"):
        raise RequestError(
            f"token_merging: schedule={schedule} must be one of {', '.join(SCHEDULES)}; a list of r has its own"
        )
    patches = rows * columns
    if patches < 2:
        raise RequestError(
            f"token_merging: an image of {image_size} pixels has a single patch; use smaller patches (patch_size)"
        )
    wanted = schedule_of(r if several or r else max(1, round(patches / (2 * depth))), schedule, depth)
    numbers, left = [], patches
    for number in wanted:
        numbers.append(min(number, left // 2))
        left -= numbers[-1]
    types = modules()
    for block, number in zip(model.blocks, numbers, strict=True):
        block.r, block.prefix = number, model.num_prefix_tokens
        # A class of its own, as torch's parametrizations do, rather than a wrapper that would rename its weights.
        block.__class__ = type(f"Merging{type(block).__name__}", (types.Merging, type(block)), {})
    blocks = types.MergingBlocks(*model.blocks)
    blocks.whole = model.global_pool != "token"
    blocks.tokens = patches + model.num_prefix_tokens
    model.blocks = blocks
    model.resolved_options = {"r": numbers}
    return model


def fits(model):
    from timm.models.vision_transformer import Attention, Block

    from bench.models.insertion import why_not_between

    why = why_not_between(model)
    if why:
        return why
    other = next((b for b in model.blocks if type(b) is not Block or type(b.attn) is not Attention), None)
    if other is not None:
        return f"{type(model).__name__} has blocks of another kind, {type(other).__name__}"
    return ""


@hookimpl
def bench_extensions():
    yield ExtensionSpec(
        "token_merging",
        apply,
        fits,
        changes="ViT, DeiT and other timm VisionTransformers",
        source="Bolya et al., ICLR 2023",
    )

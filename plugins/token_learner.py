"""TokenLearner: behind some block, a few learned tokens take the place of a ViT's grid of patches.

Ryoo, Piergiovanni, Arnab, Dehghani and Angelova: TokenLearner: What Can 8 Learned Tokens Do for Images
and Videos? NeurIPS 2021 (arXiv:2106.11297). With x the grid, H·W positions of D channels, token i of T is

    z_i = ρ(x ⊙ α_i(x))

where α_i(x) weighs the positions and ρ pools over them (section 2.1). Version 1.0, the paper's, makes the
weights with four convolutions and a sigmoid, and pools by sum or mean; version 1.1, which the authors
published later and prefer, makes them with an MLP and a softmax over positions, and sums. TokenFuser
(section 2.2) turns the processed tokens y, T of D channels, into a grid again. They are mixed with each
other by a learned T × T matrix M, then each position takes of them what its old value x_j asks for:

    x_j ← x_j + Σ_i β_i(x_j) (M y)_i

The modules compute what the authors' own do (scenic, projects/token_learner), and start as theirs. Dropout,
an option there, is left out.

Without `fuser` one TokenLearner stands between two blocks, and all later blocks work on its tokens. With it,
as in the authors' `EncoderModFuser`, every later block becomes TokenLearner → block → TokenFuser. The tokens
in front of the grid (class, distillation) pass both untouched, and take part in every block. Where they alone
are the features, nobody would read the grid behind the last block: it has no TokenFuser there.
"""

import functools
from types import SimpleNamespace

from bench import ExtensionSpec, RequestError, hookimpl

# As `version` is written. 1.0 pools by the sum, as the authors' code by default.
VERSIONS = {"1.1": {}, "1.0": {"pooling": "sum"}, "1.0-mean": {"pooling": "mean"}}


@functools.cache
def modules():
    """The module classes, defined at the first call: listing models is not to import torch."""
    import torch
    from torch import nn
    from torch.nn import functional

    def bottleneck(width, tokens, hidden=64):
        """MLP from a position's channels to one value a token."""
        layers = nn.Linear(width, hidden), nn.Linear(hidden, tokens)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
        return nn.Sequential(layers[0], nn.GELU(approximate="tanh"), layers[1])

    def convolution(inputs, tokens):
        """3×3, variance 1 / (9 · inputs), from a normal distribution cut at two deviations (as in flax)."""
        layer = nn.Conv2d(inputs, tokens, 3, padding=1, bias=False)
        deviation = (9 * inputs) ** -0.5 / 0.8796  # what is left of 1 after the cut
        nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        return layer

    class TokenLearner(nn.Module):
        """(N, P + H·W, D) → (N, P + T, D): the first P tokens as they are, then T that are made of the grid."""

        def __init__(self, width, prefix=0):
            super().__init__()
            self.prefix = prefix
            self.norm = nn.LayerNorm(width, eps=1e-6)

        def weights(self, grid):
            """Of each position in each token: (N, H·W, D), normalised → (N, T, H·W)."""
            raise NotImplementedError

        def forward(self, x, attn_mask=None, is_causal=False):  # as timm calls its blocks; a mask is for those
            prefix, grid = x[:, : self.prefix], x[:, self.prefix :]
            return torch.cat([prefix, self.weights(self.norm(grid)) @ grid], dim=1)

    class TokenLearner10(TokenLearner):
        """Version 1.0, for grids of `grid` = (H, W) positions; `pooling` is "sum" or "mean"."""

        def __init__(self, width, tokens, grid, pooling="sum", prefix=0):
            super().__init__(width, prefix)
            self.grid = tuple(grid)
            self.divisor = grid[0] * grid[1] if pooling == "mean" else 1
            self.convolutions = nn.ModuleList(convolution(inputs, tokens) for inputs in (width, tokens, tokens, tokens))

        def weights(self, grid):
            maps = grid.transpose(1, 2).unflatten(2, self.grid)
            for convolution in self.convolutions[:-1]:
                maps = functional.gelu(convolution(maps), approximate="tanh")
            return self.convolutions[-1](maps).flatten(2).sigmoid() / self.divisor

    class TokenLearner11(TokenLearner):
        """Version 1.1, for any grid."""

        def __init__(self, width, tokens, prefix=0):
            super().__init__(width, prefix)
            self.mlp = bottleneck(width, tokens)

        def weights(self, grid):
            return self.mlp(grid).transpose(1, 2).softmax(-1)

    class TokenFuser(nn.Module):
        """Tokens (N, T, D) and the grid before them (N, H·W, D) → what is added to the grid (N, H·W, D).

        As the authors', M starts as 0, so that a pretrained model's grid starts unchanged.
        """

        def __init__(self, width, tokens):
            super().__init__()
            self.mix_norm1, self.mix_norm2, self.norm = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
            self.mix = nn.Linear(tokens, tokens)
            nn.init.zeros_(self.mix.weight)
            nn.init.zeros_(self.mix.bias)
            self.mlp = bottleneck(width, tokens)

        def forward(self, tokens, grid):
            mixed = self.mix(self.mix_norm1(tokens).transpose(1, 2)).transpose(1, 2)
            return self.mlp(self.norm(grid)).sigmoid() @ self.mix_norm2(mixed)

    class Fusion(nn.Module):
        """TokenFuser with its residual connection, and P tokens in front that pass it: (N, P + H·W, D)."""

        def __init__(self, fuser, prefix):
            super().__init__()
            self.fuser, self.prefix = fuser, prefix

        def forward(self, tokens, before):
            prefix, grid = tokens[:, : self.prefix], before[:, self.prefix :]
            return torch.cat([prefix, grid + self.fuser(tokens[:, self.prefix :], grid)], dim=1)

    class OnTokens(nn.Module):
        """What a block becomes with TokenLearner before and TokenFuser behind it: a base of its class."""

        def forward(self, x, attn_mask=None, is_causal=False):
            tokens = super().forward(self.token_learner(x), attn_mask=attn_mask, is_causal=is_causal)
            return self.token_fuser(tokens, x)

    return SimpleNamespace(
        TokenLearner10=TokenLearner10,
        TokenLearner11=TokenLearner11,
        TokenFuser=TokenFuser,
        Fusion=Fusion,
        OnTokens=OnTokens,
    )


def insert(model, tokens, after, version="1.1", fuser=False):
    """Put TokenLearner behind `blocks.<after>` of a timm VisionTransformer, or of a model that derives from it.

    The names of what it has stay. The new layers are named `token_learner` and `token_fuser`.
    """
    from bench.models.insertion import insert_after

    types, width, prefix = modules(), model.embed_dim, model.num_prefix_tokens

    def learner():
        if version == "1.1":
            return types.TokenLearner11(width, tokens, prefix)
        return types.TokenLearner10(width, tokens, model.patch_embed.grid_size, VERSIONS[version]["pooling"], prefix)

    if not fuser:
        insert_after(model, after, "token_learner", learner())
        return
    last = len(model.blocks) - 1
    grid_is_read_to_the_end = model.global_pool != "token"
    for number in range(after + 1, last + grid_is_read_to_the_end):
        block = model.blocks[number]
        block.token_learner = learner()
        block.token_fuser = types.Fusion(types.TokenFuser(width, tokens), prefix)
        # A class of its own, as torch's parametrizations do, rather than a wrapper that would rename its weights.
        block.__class__ = type(f"{type(block).__name__}OnTokens", (types.OnTokens, type(block)), {})
    if not grid_is_read_to_the_end:
        insert_after(model, last - 1, "token_learner", learner())


def block_of(after, depth, fuser):
    """The number of the block that `after` means. Raises RequestError where none is there, or none left behind it."""
    written, last = after, depth - 2 - fuser
    if type(after) is float and 0 < after < 1:
        after = round(after * depth) - 1
    if type(after) is not int or not 0 <= after <= last:
        raise RequestError(
            f"token_learner: after={written} is no block's number from 0 to {last}{' (fuser=true)' if fuser else ''}, "
            f"and no fraction such as 0.5 of the {depth} blocks that comes to one"
        )
    return after


def apply(model, *, image_size, tokens=8, after=0.5, version=1.1, fuser=False):
    """`after`: a block's number, or the fraction of blocks before TokenLearner."""
    if type(tokens) is not int or tokens < 1:
        raise RequestError(f"token_learner: tokens={tokens} must be a whole number, 1 or more")
    if str(version) not in VERSIONS:
        raise RequestError(f"token_learner: version={version} must be one of {', '.join(VERSIONS)}")
    if type(fuser) is not bool:
        raise RequestError(f"token_learner: fuser={fuser} must be true or false")
    rows, columns = model.patch_embed.grid_size
    if tokens >= rows * columns:
        raise RequestError(
            f"token_learner: tokens={tokens} are not fewer than the {rows} × {columns} patches of an image of "
            f"{image_size} pixels; use fewer, or smaller patches (patch_size)"
        )
    block = block_of(after, len(model.blocks), fuser)
    insert(model, tokens, block, str(version), fuser)
    model.resolved_options = {"after": block}
    return model


def fits(model):
    from bench.models.insertion import why_not_between

    return why_not_between(model)


@hookimpl
def bench_extensions():
    yield ExtensionSpec(
        "token_learner",
        apply,
        fits,
        changes="ViT, DeiT and other timm VisionTransformers",
        source="Ryoo et al., NeurIPS 2021",
    )

"""FDViT: a ViT whose grid of tokens shrinks little by little, by strides that are no integers.

Xu et al.: FDViT: Improve the Hierarchical Architecture of Vision Transformer, ICCV 2023.

Between stages of ViT blocks lie flexible downsampling layers (section 4.1). The grid shrinks by about √2 a
side each time and the width grows by about √2, which loses 29 % of the values where halving loses 50 % (eq. 8).
While training, each such layer is also the encoder of a masked auto-encoder (section 4.2): a share r of its
tokens is hidden, D(E(I ⊙ M)) is compared with I, and over the S layers the loss becomes (eqs. 11 and 12)

    L = L_c + θ / S · Σ_S mean((D(E(I ⊙ M)) − I)²)        r = `mask_ratio`, θ = `mask_weight`

Neither masks nor decoders have a part in inference.

Where the paper and the authors' released code differ, the code is followed in what is computed, since the released
weights are its own; and the paper in θ, which is a choice for training and costs no compatibility:
- Taps. Eq. 6 puts the kernel's taps one input position apart around h·Ŝ, and interpolates at each. The code
  resamples the grid first and convolves then: its taps are Ŝ input positions apart.
- The downsampling layer begins with a LayerNorm in the code, and attention adds a depthwise 3×3 convolution of the
  values to its output (`get_v`); the paper mentions neither.
- Decoder. Eq. 9: convolution, batch norm, ReLU, flexible convolution of stride 1/√2. In the code a 3×3 convolution
  and bilinear resampling.
- Mask. The paper masks single values; the code whole tokens, each with probability r, the rest scaled by 1/(1 − r).
- θ is 0.1 in the paper, 0.03 in the released recipe.
- Widths. Table 1 has 128 and 256 (Ti), 576 (S); the code 126, 260 and 570, multiples of the number of heads.
"""

import functools
import math
from collections import OrderedDict
from types import SimpleNamespace

from bench import ExtensionSpec, ModelSpec, RequestError, hookimpl

SOURCE = "Xu et al., ICCV 2023"

# Of the stages: widths, heads, depths.
VARIANTS = {
    "ti": {"widths": (64, 92, 126, 184, 260), "heads": (2, 4, 6, 8, 10), "depths": (2, 3, 3, 2, 2)},
    "s": {"widths": (144, 204, 288, 408, 570), "heads": (3, 6, 9, 12, 15), "depths": (2, 3, 3, 2, 2)},
    "b": {"widths": (256, 360, 512, 720, 1024), "heads": (4, 8, 8, 16, 16), "depths": (3, 3, 3, 2, 2)},
}
PATCHES = {"ti": 16, "s": 16, "b": 14}


def flexible_downsampling(width, new_width, grid):
    """The layer E from a square grid (N, width, h, h) to (N, new_width, grid, grid), of any sizes.

    LayerNorm over the channels, bilinear resampling with the corners aligned, 3×3 convolution. The stride is
    Ŝ = (h − 1) / (grid − 1), as eq. 5 with its padding (K − 1) / 2: from 27 to 19 positions it is 26/18 ≈ 1.44.
    """
    from timm.layers import LayerNorm2d
    from torch import nn

    layers = OrderedDict(
        ln=LayerNorm2d(width, eps=1e-5),
        resample=nn.Upsample(size=(grid, grid), mode="bilinear", align_corners=True),
        conv=nn.Conv2d(width, new_width, 3, padding=1),
    )
    return nn.Sequential(layers)


def decoder(width, old_width, grid):
    """The decoder D from a downsampled grid back to (N, old_width, grid, grid)."""
    from torch import nn

    layers = OrderedDict(
        conv=nn.Conv2d(width, old_width, 3, padding=1),
        resample=nn.Upsample(size=(grid, grid), mode="bilinear", align_corners=True),
    )
    return nn.Sequential(layers)


def rounded(number):
    """The nearest whole number, halves up, at least 1."""
    return max(1, math.floor(number + 0.5))


def stage_grids(first, stages):
    """The grids' sides, each stage's √2 times smaller, rounded: 27 gives 27, 19, 14, 10, 7."""
    return [rounded(first / 2 ** (stage / 2)) for stage in range(stages)]


@functools.cache
def modules():
    """The module classes, defined at the first call: listing models is not to import torch."""
    import torch
    from timm.layers import Attention, calculate_drop_path_rates
    from timm.models import checkpoint_seq
    from timm.models.vision_transformer import Block
    from torch import nn
    from torch.nn import functional

    class GridAttention(Attention):
        """softmax(QKᵀ/√d) V + depthwise 3×3 convolution of V, laid out as the grid (h, w); eq. 1 and `get_v`."""

        grid = (1, 1)

        def __init__(self, width, **settings):
            super().__init__(width, **settings)
            self.get_v = nn.Conv2d(width, width, 3, padding=1, groups=width)

        def forward(self, tokens, attn_mask=None, is_causal=False):
            q, k, v = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
            attended = functional.scaled_dot_product_attention(q, k, v, attn_mask, is_causal=is_causal)
            values = v.transpose(2, 3).flatten(1, 2).unflatten(2, self.grid)  # channels head by head
            near = self.get_v(values).flatten(2).transpose(1, 2)
            return self.proj(attended.transpose(1, 2).flatten(2) + near)

    class Stage(nn.Module):
        """ViT blocks on a grid, one for each rate at which it is dropped: (N, width, grid, grid) → the same."""

        def __init__(self, width, heads, drop_paths, grid):
            super().__init__()
            norm = functools.partial(nn.LayerNorm, eps=1e-6)
            blocks = [
                Block(width, heads, qkv_bias=True, drop_path=rate, norm_layer=norm, attn_layer=GridAttention)
                for rate in drop_paths
            ]
            for block in blocks:
                block.attn.grid = (grid, grid)
            self.grid = (grid, grid)
            self.blocks = nn.Sequential(*blocks)
            self.grad_checkpointing = False

        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            tokens = checkpoint_seq(self.blocks, tokens) if self.grad_checkpointing else self.blocks(tokens)
            return tokens.transpose(1, 2).unflatten(2, self.grid)

    class FDViT(nn.Module):
        """Images (N, 3, S, S) → features (N, widths[-1]): LayerNorm, then the mean over the tokens.

        The names are the authors', so that their weights load. What lies between the stages is registered before
        them: of it nothing trains when the last stage alone does.
        """

        training_only = ("decoders",)

        def __init__(
            self, patch_size, stride, grids, widths, heads, depths, mask_ratio, mask_weight, drop_path_rate=0.0
        ):
            super().__init__()
            stages = range(len(grids))
            drop_paths = iter(calculate_drop_path_rates(drop_path_rate, sum(depths)))
            self.pos_embed = nn.Parameter(torch.empty(1, widths[0], grids[0], grids[0]))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
            self.patch_embed = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, widths[0], patch_size, stride)))
            self.pools = nn.ModuleList(
                flexible_downsampling(widths[i], widths[i + 1], grids[i + 1]) for i in stages[:-1]
            )
            self.decoders = nn.ModuleList(
                decoder(widths[i + 1], widths[i], grids[i]) for i in stages[:-1] if mask_weight > 0
            )
            self.transformers = nn.ModuleList(
                Stage(widths[i], heads[i], [next(drop_paths) for _ in range(depths[i])], grids[i]) for i in stages
            )
            self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
            self.mask_ratio, self.mask_weight = mask_ratio, mask_weight
            self.reconstruction = None
            if not self.decoders:
                self.training_loss = None

        def forward(self, images):
            x = self.patch_embed(images) + self.pos_embed
            losses = []
            for stage, pool in enumerate(self.pools):
                x = self.transformers[stage](x)
                if self.decoders and pool.training:
                    losses.append(self.reconstruction_loss(x, stage))
                x = pool(x)
            self.reconstruction = torch.stack(losses).mean() if losses else None
            x = self.transformers[-1](x)
            return self.norm(x.flatten(2).transpose(1, 2)).mean(1)

        def reconstruction_loss(self, x, stage):
            """mean((D(E(x ⊙ M)) − x)²), a scalar; the random mask M hides tokens."""
            kept = functional.dropout(torch.ones_like(x[:, :1]), self.mask_ratio)
            return functional.mse_loss(self.decoders[stage](self.pools[stage](x * kept)), x)

        def training_loss(self):
            """θ × the mean over the layers, of the latest forward pass, asked for once; None where none trains."""
            loss, self.reconstruction = self.reconstruction, None
            return None if loss is None else self.mask_weight * loss

        def set_grad_checkpointing(self, enable=True):
            """Whether the blocks' activations are computed again in the backward pass, as in timm."""
            for stage in self.transformers:
                stage.grad_checkpointing = enable

    class OnTokens(nn.Module):
        """A layer for grids (N, C, h, h) on tokens (N, P + h·h, C), whose first P (class token, …) pass untouched."""

        def __init__(self, layer, prefix, grid):
            super().__init__()
            self.layer, self.prefix, self.grid = layer, prefix, (grid, grid)

        def forward(self, tokens):
            x = tokens[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)
            x = self.layer(x).flatten(2).transpose(1, 2)
            return torch.cat([tokens[:, : self.prefix], x], dim=1)

    return SimpleNamespace(FDViT=FDViT, OnTokens=OnTokens)


def fit(state, model):
    """The authors' state made to fit another image or patch size: embeddings resampled, as timm does for a ViT."""
    from timm.layers import resample_patch_embed
    from torch.nn import functional

    patches, positions = "patch_embed.conv.weight", "pos_embed"
    if patches in state:
        size = model.patch_embed.conv.weight.shape[2:]
        state[patches] = resample_patch_embed(state[patches], list(size))
    if positions in state and state[positions].shape[2:] != model.pos_embed.shape[2:]:
        size = model.pos_embed.shape[2:]
        state[positions] = functional.interpolate(state[positions], size=size, mode="bicubic", antialias=True)
    return state


def demand(fits, problem):
    """Raise RequestError, with that text, unless it fits."""
    if not fits:
        raise RequestError(problem)


def counts(values):
    """Whether those are a list of positive whole numbers."""
    return isinstance(values, (list, tuple)) and all(type(value) is int and value > 0 for value in values)


def chosen_patch(patch, side, least):
    """The patch size, halved until `side(patch)`, that of the grid, is at least `least`."""
    while patch > 2 and side(patch) < least:
        patch //= 2
    return patch


def build(
    variant,
    *,
    num_classes,
    image_size,
    pretrained,
    widths,
    heads,
    depths,
    patch_size=0,
    stride=0,
    mask_ratio=0.2,
    mask_weight=0.1,
    drop_path_rate=0.0,
):
    """FDViT-Ti, -S or -B, or one of other `widths`, `heads` and `depths`, a number for each stage.

    `patch_size` 0 is the paper's, halved until the first grid has at least 7 patches a side, so that the fifth has
    2: 16 from 64 pixels on, 8 at 32 pixels (FDViT-B: 14 and 7). `stride` 0 is half of it. `mask_weight=0` leaves the
    auto-encoder out.
    """
    from timm.models import _builder

    lists = (widths, heads, depths)
    fits = all(map(counts, lists)) and len(widths) == len(heads) == len(depths) > 0
    demand(
        fits and all(width % number == 0 for width, number in zip(widths, heads, strict=True)),
        f"fdvit_{variant}: widths, heads and depths must be lists such as [64,92], a number for each stage, and each "
        "width a multiple of its heads",
    )
    fits = all(isinstance(value, (int, float)) for value in (mask_ratio, mask_weight))
    demand(
        fits and 0 <= mask_ratio < 1 and mask_weight >= 0,
        f"fdvit_{variant}: mask_ratio must be a number from 0 to below 1, mask_weight one from 0",
    )
    patch_size = patch_size or chosen_patch(PATCHES[variant], lambda patch: 2 * image_size // patch - 1, least=7)
    stride = stride or max(1, patch_size // 2)
    demand(
        counts([patch_size, stride]) and patch_size <= image_size,
        f"fdvit_{variant}: patch_size={patch_size} and stride={stride} must be whole numbers (0: chosen by the image "
        f"size), the patches no larger than the images ({image_size} pixels)",
    )
    grids = stage_grids((image_size - patch_size) // stride + 1, len(widths))
    model = modules().FDViT(patch_size, stride, grids, widths, heads, depths, mask_ratio, mask_weight, drop_path_rate)
    model.resolved_options = {"patch_size": patch_size, "stride": stride, "grids": grids}
    model.pretrained_cfg = {"classifier": "head", "first_conv": "patch_embed.conv"}
    if pretrained:
        _builder.load_pretrained(model, model.pretrained_cfg, filter_fn=fit)
    return model


def apply(model, *, image_size, grids=(14, 10, 7), after=()):
    """Flexible downsampling layers between the blocks of a ViT, at its own width throughout.

    `grids` are the sides of the grid of a ViT with 14 × 14 patches: its own, then what each layer makes of it; with
    other grids they scale, rounded. The layers come behind the blocks with the numbers `after` (as in `blocks.3`),
    evenly spread where none are given: behind 3 and 7 of 12 for two layers.

    The class and distillation tokens pass by. A layer's convolution starts as the identity, so that the later blocks
    of a pretrained model see its own tokens, normalised and resampled. No auto-encoder is added.
    """
    from torch import nn

    from bench.models.insertion import insert_after

    depth = len(model.blocks)
    demand(
        counts(grids) and 2 <= len(grids) <= depth and list(grids) == sorted(grids, reverse=True),
        f"flexible_downsampling: grids must be a list of 2 to {depth} sides that do not grow, such as [14,10,7]",
    )
    after = after or [rounded(depth * n / len(grids)) - 1 for n in range(1, len(grids))]
    demand(
        isinstance(after, list) and len(after) == len(grids) - 1 and after == sorted({*after} & {*range(depth)}),
        f"flexible_downsampling: after must be a list of {len(grids) - 1} of its blocks, 0 to {depth - 1}, in order",
    )
    rows, columns = model.patch_embed.grid_size
    demand(rows == columns, f"flexible_downsampling: its grid of {rows} × {columns} patches is no square")
    sides = [rounded(rows * grid / grids[0]) for grid in grids]
    smaller = all(
        new < old for old, new, was, now in zip(sides, sides[1:], grids, grids[1:], strict=False) if now < was
    )
    demand(
        smaller,
        f"flexible_downsampling: {rows} × {columns} patches of an image of {image_size} pixels are too few to become "
        f"{' and '.join(f'{side} × {side}' for side in sides[1:])}; use smaller patches (patch_size), or other grids",
    )
    for block, side, new_side in zip(after, sides[:-1], sides[1:], strict=True):
        layer = flexible_downsampling(model.embed_dim, model.embed_dim, new_side)
        nn.init.dirac_(layer.conv.weight)
        nn.init.zeros_(layer.conv.bias)
        insert_after(model, block, f"downsampling{block}", modules().OnTokens(layer, model.num_prefix_tokens, side))
    model.resolved_options = {"after": after, "grids": sides}
    return model


def fits(model):
    from bench.models.insertion import why_not_between

    return why_not_between(model)


@hookimpl
def bench_models():
    for variant, stages in VARIANTS.items():
        yield ModelSpec(
            f"fdvit_{variant}",
            functools.partial(build, variant, **stages),
            family="transformer",
            last_block="transformers.4",
            source=SOURCE,
        )


@hookimpl
def bench_extensions():
    yield ExtensionSpec(
        "flexible_downsampling",
        apply,
        fits,
        changes="ViT, DeiT and other timm VisionTransformers with a square grid",
        source=SOURCE,
    )

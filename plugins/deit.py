"""DeiT, distilled: a ViT with a second token; its features are the mean of both tokens."""

import functools

from bench import ModelSpec, hookimpl


def build(size, *, num_classes, image_size, pretrained, patch_size=16, drop_path_rate=0.0):
    import timm

    return timm.create_model(
        f"deit_{size}_distilled_patch16_224",
        pretrained=pretrained,
        num_classes=0,
        img_size=image_size,
        patch_size=patch_size,
        drop_path_rate=drop_path_rate,
    )


@hookimpl
def bench_models():
    for size in ("tiny", "small", "base"):
        yield ModelSpec(
            f"deit_{size}_distilled",
            functools.partial(build, size),
            family="transformer",
            last_block="blocks.11",
            source="Touvron et al., ICML 2021",
        )

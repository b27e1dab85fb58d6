"""DenseNet: every layer sees the features of all before it."""

import functools

from bench import ModelSpec, RequestError, hookimpl


def build(name, *, num_classes, image_size, pretrained, stem_stride=4):
    """`stem_stride`: by how much the layers before the first block shrink a picture's side.

    4 is as published, for pictures of 224 pixels; of 32 pixels it leaves a map of 8 × 8. 2 leaves out the
    max-pooling, 1 the convolution's stride, too, as the paper does for pictures of 32 pixels. Weights of one fit all.
    """
    import timm
    from torch import nn

    if type(stem_stride) is not int or stem_stride not in (4, 2, 1):
        raise RequestError(f"{name}: stem_stride={stem_stride} must be 4 (as published), 2 or 1")
    model = timm.create_model(name, pretrained=pretrained, num_classes=0)
    if stem_stride < 4:
        model.features.pool0 = nn.Identity()
    if stem_stride < 2:
        model.features.conv0.stride = (1, 1)
    return model


@hookimpl
def bench_models():
    for name in ("densenet121", "densenet201"):
        yield ModelSpec(
            name,
            functools.partial(build, name),
            family="cnn",
            last_block="features.denseblock4",
            source="Huang et al., CVPR 2017",
        )

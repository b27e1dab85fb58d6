"""DenseNet: every layer sees the features of all before it."""

import functools

from bench import ModelSpec, hookimpl


def build(name, *, num_classes, image_size, pretrained):
    import timm

    return timm.create_model(name, pretrained=pretrained, num_classes=0)


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

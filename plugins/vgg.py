"""VGG19 with and without batch norm: convolutions, globally pooled to 512 features."""

import functools

from bench import ModelSpec, hookimpl


def build(name, *, num_classes, image_size, pretrained):
    import timm
    from torch import nn

    # The two 4096-wide layers go: the protocol's head takes their place. Only pretrained weights
    # need them at full size, to load; else they need not be initialised (119 of 139 M parameters).
    unused = {} if pretrained else {"mlp_ratio": 1 / 512}
    model = timm.create_model(name, pretrained=pretrained, num_classes=0, **unused)
    model.pre_logits = nn.Identity()
    return model


@hookimpl
def bench_models():
    for name, block5 in (("vgg19", "features.28"), ("vgg19_bn", "features.40")):
        yield ModelSpec(
            name,
            functools.partial(build, name),
            family="cnn",
            last_block=block5,
            source="Simonyan and Zisserman, ICLR 2015, configuration E",
        )

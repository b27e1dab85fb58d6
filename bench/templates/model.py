"""The model `mine`: try it with `python -m bench run mine vit_tiny --protocol quick`."""

from bench import ModelSpec, hookimpl


def build(*, num_classes, image_size, pretrained, width=32):
    """The backbone, from images (N, 3, S, S) to features (N, D); the protocol supplies the head.

    Parameters behind `pretrained` are options: `mine:width=64`. What a combination of them rules out is refused by
    `raise bench.RequestError("…")`. torch and timm are imported here, so that listing stays instant.
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
    )


@hookimpl
def bench_models():
    # For fine-tuning, last_block="4" would name the module from which on layers train.
    yield ModelSpec("mine", build, family="cnn", source="by hand")

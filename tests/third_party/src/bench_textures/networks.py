"""The model `texture_net`, the extension `channel_attention`, and what is claimed of the model."""

from bench import Claim, ExtensionSpec, ModelSpec, hookimpl

from bench_textures import claims


def build_texture_net(*, num_classes, image_size, pretrained, filters=24):
    """A texture is where its filters answer, on the mean, and how unevenly: Portilla and Simoncelli's idea, learned."""
    from bench_textures.layers import TextureNet

    return TextureNet(filters)


def add_attention(backbone, *, image_size, last=3):
    """Behind each of the `last` batch norms, channels are weighed by what they hold of the picture."""
    from bench_textures.layers import attend, batch_norms

    for norm in batch_norms(backbone)[-last:]:
        attend(norm)
    return backbone


def has_batch_norms(backbone):
    from bench_textures.layers import batch_norms

    return "" if batch_norms(backbone) else f"{type(backbone).__name__} has no batch norms"


@hookimpl
def bench_models():
    yield ModelSpec("texture_net", build_texture_net, family="cnn", last_block="second", source="bench-textures")


@hookimpl
def bench_extensions():
    yield ExtensionSpec(
        "channel_attention",
        add_attention,
        has_batch_norms,
        changes="networks with batch norms",
        source="ECA, CVPR 2020",
    )


@hookimpl
def bench_claims():
    yield Claim(claims.SMALL, "bench-textures, README", claims.is_small)

"""The extension `mine`: try it with `python -m bench run vit_tiny --extensions mine --protocol quick`."""

from bench import ExtensionSpec, hookimpl


def apply(backbone, *, image_size, keep=0.5):
    """The later blocks lose their MLP: change this. The names of what was there stay, and so does the feature width.

    Parameters behind `image_size` are options: `vit_tiny+mine:keep=0.75`.
    """
    for block in list(backbone.blocks)[int(len(backbone.blocks) * keep) :]:
        block.mlp.requires_grad_(False)  # it is there, and of no use any more
        block.mlp.forward = lambda tokens: 0 * tokens
    return backbone


def fits(backbone):
    """Why it does not fit a model, in a few words; empty where it does."""
    have_one = [hasattr(block, "mlp") for block in getattr(backbone, "blocks", ())]
    return "" if have_one and all(have_one) else f"{type(backbone).__name__} has no blocks with an MLP"


@hookimpl
def bench_extensions():
    yield ExtensionSpec("mine", apply, fits, changes="transformers of blocks with an MLP", source="by hand")

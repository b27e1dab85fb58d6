"""The dataset `mine`: try it with `python -m bench run vit_tiny --protocol quick --data mine`."""

from bench import DatasetSpec, Pictures, Split, hookimpl

CLASSES = ("wide", "tall")


def load(*, location, image_size, cache):
    """Bright bars on noise, lying or standing: put your own pictures here.

    `location` is what stands behind the colon (`--data mine:DIR`), `cache` a folder for downloads. A split's pictures
    are an array (N, H, W, 3) of uint8, or any sequence that decodes when it is asked.
    """
    import numpy as np

    def split(count, seed):
        random = np.random.default_rng(seed)
        pictures = random.integers(0, 160, (count, image_size, image_size, 3), dtype=np.uint8)
        labels = np.arange(count) % 2
        for picture, label in zip(pictures, labels, strict=True):
            at, thick = random.integers(image_size * 3 // 4), max(1, image_size // 8)
            (picture if label == 0 else picture.swapaxes(0, 1))[at : at + thick] += 90
        return Split(pictures, labels)

    return Pictures(CLASSES, train=split(1200, 0), test=split(300, 1))


def key(location, image_size):
    """Names the content without decoding it: change it where the content changes."""
    return f"bars 1, {image_size}"


@hookimpl
def bench_datasets():
    yield DatasetSpec("mine", load, source="drawn at random", key=key)

"""The dataset `textures`, and the measurement `quarter_turn`: what orientation means to a model."""

from bench import DatasetSpec, MeasureSpec, Pictures, Quantity, Split, hookimpl

CLASSES = ("stripes", "checks", "dots", "clouds")


def load(*, location, image_size, cache):
    """As many of each class, 800 to train and 200 to test, with contrast, scale and phase drawn by a fixed seed."""
    return Pictures(CLASSES, train=split(800, image_size, seed=0), test=split(200, image_size, seed=1))


def split(count, size, seed):
    import numpy as np

    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    drawn = [texture(CLASSES[label], size, random) for label in labels]
    contrast = random.uniform(40, 100, (count, 1, 1, 3))
    noise = random.normal(0, 12, (count, size, size, 3))
    return Split((128 + contrast * np.stack(drawn)[..., None] + noise).clip(0, 255).astype(np.uint8), labels)


def texture(kind, size, random):
    """A picture (size, size) of values from -1 to 1; of stripes, lying ones."""
    import numpy as np

    y, x = np.mgrid[:size, :size] * (2 * np.pi / random.uniform(4, 8))
    across, down = random.uniform(0, 2 * np.pi, 2)
    if kind == "stripes":
        return np.sin(y + down)
    if kind == "checks":
        return np.sign(np.sin(x + across) * np.sin(y + down))
    if kind == "dots":
        return np.where(np.sin(x + across) + np.sin(y + down) > 1, 1.0, -0.5)
    coarse = random.uniform(-1, 1, (size // 8 + 1, size // 8 + 1))
    return np.kron(coarse, np.ones((8, 8)))[:size, :size]


def key(location, image_size):
    return f"textures 1, {image_size}"


def measure(subject):
    """The share of test pictures that keep their class when they are turned by 90°; of noise, untrained."""
    import torch

    size, device = subject.image_size, subject.device.torch_device
    batches = subject.trained.test() if subject.trained else [(torch.randn(16, 3, size, size, device=device), None)]
    kept = count = 0
    with torch.inference_mode():
        for images, _ in batches:
            upright, turned = (subject.model(one).argmax(1) for one in (images, images.rot90(1, (2, 3))))
            kept += int((upright == turned).sum())
            count += len(images)
    return {"kept": kept / count, "pictures": count}


@hookimpl
def bench_datasets():
    yield DatasetSpec("textures", load, source="computed", key=key)


@hookimpl
def bench_measurements():
    kept = Quantity(
        key="turn_kept",
        label="kept when turned (%)",
        about="share of the pictures that keep their class when they are turned by 90°",
        path="kept",
        scale=100.0,
        most=100.0,
        kind="score",
        better="higher",
        unit="%",
        decimals=1,
        page=True,
    )
    yield MeasureSpec("quarter_turn", measure, (kept,))

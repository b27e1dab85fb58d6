"""The corruptions are the published ones, follow from the trial's seed, and are what the model is asked about."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.device import Device
from bench.hookspecs import Trained
from bench.measure.robustness import measure
from bench.measure.robustness.corruptions import CORRUPTIONS
from bench.measure.robustness.draws import Draws
from bench.measure.robustness.parameters import PUBLISHED, strengths
from bench.measure.robustness.parts import cut

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "published_corruptions.py"
SPEC = importlib.util.spec_from_file_location("published_corruptions", SCRIPT)
assert SPEC and SPEC.loader
published_corruptions = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(published_corruptions)

CPU = Device("cpu")


@pytest.fixture(scope="module")
def vectors() -> dict[str, np.ndarray]:
    """What the authors' programs made: benchmarks/published_corruptions.py wrote it, and says how."""
    with np.load(Path(__file__).with_name("corruptions.npz")) as content:
        return dict(content)


def photograph(size: int) -> Tensor:
    """The photograph that the vectors were made of: (1, 3, S, S) in 0..1."""
    return torch.from_numpy(published_corruptions.photograph(size)).permute(2, 0, 1)[None].float() / 255


class SameDraws:
    """What their programs drew: NumPy's numbers in their order, colours last, by a generator started from the seed."""

    def __init__(self, name: str, seed: int) -> None:
        # scikit-image's salt and pepper comes from NumPy's newer generator, all else from its older one.
        self.uniform_of = np.random.default_rng(seed).uniform if name == "impulse_noise" else None
        self.generator = np.random.RandomState(seed)

    def normal(self, *shape: int) -> Tensor:
        return self._turned(self.generator.normal(size=colours_last(shape)), shape)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        draw = self.uniform_of or self.generator.uniform
        return self._turned(draw(low, high, size=colours_last(shape)), shape)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.from_numpy(self.generator.randint(low, high, size=shape))[None]

    def poisson(self, means: Tensor) -> Tensor:
        (own,) = means.double().permute(0, 2, 3, 1).numpy()
        return self._turned(self.generator.poisson(own), tuple(means.shape[1:]))

    @staticmethod
    def _turned(drawn: Any, shape: tuple[int, ...]) -> Tensor:
        values = torch.from_numpy(np.asarray(drawn)).float()
        return (values.permute(2, 0, 1) if is_coloured(shape) else values.reshape(shape))[None]


def is_coloured(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] == 3


def colours_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if is_coloured(shape) else shape


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", PUBLISHED)
def test_each_corruption_is_the_authors_own_pixel_by_pixel(
    size: int, name: str, vectors: dict[str, np.ndarray]
) -> None:
    """To a grey level, since they compute in 64 bits; to one at each step of glass blur, which cuts off twice. OpenCV's
    affine map takes whole 32nds of a pixel, which shows at edges."""
    most, mean = {"elastic_transform": (4, 0.5), "glass_blur": (2, 0.15)}.get(name, (1, 0.15))
    for severity, strength in enumerate(PUBLISHED[size][1][name], 1):
        made = CORRUPTIONS[name](photograph(size), strength, SameDraws(name, severity))  # type: ignore[arg-type]
        levels = cut(made)[0].mul(255).round().flatten(1).T.numpy()
        difference = np.abs(levels[vectors[f"{size}/places"]] - vectors[f"{size}/{name}"][severity - 1])
        assert difference.max() <= most and difference.mean() <= mean, (severity, difference.max(), difference.mean())


def test_the_vectors_tell_corruptions_apart(vectors: dict[str, np.ndarray]) -> None:
    """A photograph that nothing was done to would not pass for a corrupted one."""
    for size in PUBLISHED:
        clean = photograph(size)[0].mul(255).flatten(1).T.numpy()[vectors[f"{size}/places"]]
        for name in CORRUPTIONS:
            assert np.abs(vectors[f"{size}/{name}"] - clean).mean((1, 2)).min() > 0.3, (size, name)


@pytest.mark.parametrize(
    ("size", "whose"),
    [(8, "CIFAR-10-C"), (32, "CIFAR-10-C"), (48, "Tiny ImageNet-C"), (96, "Tiny ImageNet-C"), (128, "ImageNet-C")],
)
def test_the_strengths_are_those_of_the_nearest_published_size(size: int, whose: str) -> None:
    assert strengths(size)[0] == whose


def corrupted(name: str, size: int, severity: int, seed: int = 0, pictures: Tensor | None = None) -> Tensor:
    pictures = photograph(size) if pictures is None else pictures
    draws = Draws(seed, name, severity, 0, len(pictures), CPU)
    return cut(CORRUPTIONS[name](pictures, strengths(size)[1][name][severity - 1], draws))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [8, 20, 33, 90])
def test_pictures_of_any_size_stay_pictures(name: str, size: int) -> None:
    pictures = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    for severity in (1, 5):
        for one in (pictures, torch.zeros_like(pictures), torch.ones_like(pictures)):
            made = corrupted(name, size, severity, pictures=one)
            assert made.shape == pictures.shape and made.min() >= 0 and made.max() <= 1
            assert torch.equal((made * 255).round(), cut(made) * 255)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - {"glass_blur", "motion_blur", "elastic_transform"}))
def test_a_severer_corruption_changes_a_photograph_more(name: str) -> None:
    """Of the others some published severities change pixels less than a milder one does."""
    changes = [(corrupted(name, 32, severity) - photograph(32)).abs().mean().item() for severity in range(1, 6)]
    assert changes == sorted(changes) and changes[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_picture_is_corrupted_alike_in_any_batch_and_otherwise_by_another_seed(name: str) -> None:
    pictures = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255
    strength, state = strengths(32)[1][name][4], torch.get_rng_state()
    whole = CORRUPTIONS[name](pictures, strength, Draws(3, name, 5, 0, 5, CPU))
    parts = [CORRUPTIONS[name](pictures[a:b], strength, Draws(3, name, 5, a, b - a, CPU)) for a, b in ((0, 2), (2, 5))]
    torch.testing.assert_close(cut(whole), cut(torch.cat(parts)), atol=1.01 / 255, rtol=0)
    other = CORRUPTIONS[name](pictures, strength, Draws(4, name, 5, 0, 5, CPU))
    drawn = name not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert torch.equal(whole, other) is not drawn
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_drawn_has_the_distribution_that_its_name_says() -> None:
    draws = Draws(0, "any", 1, 0, 4, CPU)
    normal = draws.normal(100_000)
    assert normal.shape == (4, 100_000)
    assert normal.mean(1).abs().max() < 0.02 and (normal.std(1) - 1).abs().max() < 0.02
    uniform = draws.uniform(-2, 4, 100_000)
    assert uniform.min() >= -2 and uniform.max() <= 4
    assert (uniform.mean(1) - 1).abs().max() < 0.03 and (uniform.var(1) - 3).abs().max() < 0.05
    assert draws.integers(-2, 2, 1000).unique().tolist() == [-2, -1, 0, 1]
    counts = draws.poisson(torch.full((4, 100_000), 12.5))
    assert (counts.mean(1) - 12.5).abs().max() < 0.06 and (counts.var(1) - 12.5).abs().max() < 0.4
    assert not torch.equal(normal[0], normal[1])
    assert torch.equal(normal, Draws(0, "any", 1, 0, 4, CPU).normal(100_000))
    assert not torch.equal(normal, Draws(0, "any", 2, 0, 4, CPU).normal(100_000))


MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
PICTURES = torch.cat([photograph(32), photograph(32).flip(3), photograph(32).flip(2)])
CLASSES = torch.tensor([0, 1, 2])


@dataclass
class Shown:
    """A subject whose trial has these pictures for testing."""

    model: nn.Module
    batch: int = 3
    image_size: int = 32
    device: Device = CPU
    precision: str = "fp32"

    @property
    def trained(self) -> Trained:
        def test() -> Iterator[tuple[Tensor, Tensor]]:
            normalised = (PICTURES - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
            yield from zip(normalised.split(self.batch), CLASSES.split(self.batch), strict=True)

        return Trained(5, None, None, test, MEAN, STD)  # type: ignore[arg-type]


class Compares(nn.Module):
    """Says which of the pictures it was shown: the nearest one of those that it knows, normalised."""

    def __init__(self, farthest: float = 1e9) -> None:
        super().__init__()
        self.farthest = farthest

    def forward(self, images: Tensor) -> Tensor:
        known = (PICTURES - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        distance = (images[:, None] - known).abs().mean((2, 3, 4))
        # One that is far from all is taken for none of them.
        return torch.cat([-distance, torch.full((len(images), 1), -self.farthest)], 1)


def test_what_is_given_are_accuracies_and_their_means() -> None:
    found = measure(Shown(Compares()))
    assert found is not None
    assert (found["pictures"], found["clean"], found["strengths"]) == (3, 1.0, "CIFAR-10-C")
    assert found["accuracy"].keys() == found["by_corruption"].keys() == CORRUPTIONS.keys()
    assert all(len(row) == 5 for row in found["accuracy"].values())
    for name, row in found["accuracy"].items():
        assert found["by_corruption"][name] == pytest.approx(np.mean(row))
    assert found["mean"] == pytest.approx(np.mean(list(found["by_corruption"].values())))


def test_the_model_sees_clean_pictures_as_they_were_and_corrupted_ones_otherwise() -> None:
    found = measure(Shown(Compares(farthest=1e-3)))
    assert found is not None
    assert found["clean"] == 1.0
    assert found["mean"] == 0.0


def test_the_size_of_batches_changes_nothing() -> None:
    whole, single = (measure(Shown(Compares(farthest=0.5), batch)) for batch in (3, 1))
    assert whole is not None and 0 < whole["mean"] < 1
    assert whole == single


def test_of_a_model_that_was_not_trained_there_is_nothing_to_say() -> None:
    class Untrained:
        trained = None

    assert measure(Untrained()) is None  # type: ignore[arg-type]

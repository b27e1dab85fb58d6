"""The bundled datasets, any folder of pictures above all."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench import RequestError
from bench.data.cache import Stored, prepare
from bench.events import DataProgress, Event
from bench.files import cache_folder
from bench.hookspecs import DatasetSpec
from bench.plugins import Registry


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(registry: Registry) -> Callable[..., Stored]:
    """`folder(path)`: the pictures of that folder, stored."""
    return lambda path, size=32: prepare(registry.datasets["folder"][0], str(path), size)


def save(pixels: np.ndarray, file: Path, **options: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


def only(stored: Stored, part: str = "test") -> np.ndarray:
    """The first of the part's pictures."""
    return stored.images(part)[0]


def test_digits_need_no_network_and_are_divided_the_same_way_always(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", None)
    first = prepare(registry.datasets["digits"][0], "", 32)
    assert first.counts == {"train": 1437, "test": 360}
    assert first.classes == tuple("0123456789")
    shutil.rmtree(cache_folder())
    assert prepare(registry.datasets["digits"][0], "", 32).fingerprint == first.fingerprint


def test_a_digit_can_still_be_read(digits: Stored) -> None:
    zeros = digits.images("train")[digits.labels("train") == 0].mean((0, 3))
    side = zeros.shape[0]
    middle, ring = zeros[side // 2, side // 2], zeros[side // 2, side // 4]
    assert middle < 32 < ring  # a zero has a hole


def test_a_folder_s_classes_are_its_folders_in_alphabetical_order(
    picture_folder: Path, folder: Callable[..., Stored]
) -> None:
    stored = folder(picture_folder)
    assert stored.classes == ("cat", "dog")
    assert stored.counts == {"train": 12, "test": 4}
    assert stored.labels("train").tolist() == [0] * 6 + [1] * 6
    assert stored.name == "folder:pictures"


def test_a_folder_s_own_validation_pictures_are_used(picture_folder: Path, folder: Callable[..., Stored]) -> None:
    shutil.copytree(picture_folder / "test", picture_folder / "val")
    assert folder(picture_folder).counts == {"train": 12, "val": 4, "test": 4}


def test_pictures_of_one_size_are_kept_to_the_bit(picture_folder: Path, folder: Callable[..., Stored]) -> None:
    stored = folder(picture_folder)
    expected = np.asarray(Image.open(picture_folder / "test" / "cat" / "0.png"))
    np.testing.assert_array_equal(only(stored), expected)


def as_saved(mode: str) -> tuple[Image.Image, list[int]]:
    """A picture of one colour in that mode, and the RGB that it should become."""
    size = (8, 8)
    match mode:
        case "L":
            return Image.new("L", size, 100), [100, 100, 100]
        case "1":
            return Image.new("1", size, 1), [255, 255, 255]
        case "LA":
            return Image.new("LA", size, (200, 128)), [100, 100, 100]
        case "RGBA":
            return Image.new("RGBA", size, (200, 100, 0, 128)), [100, 50, 0]
        case "transparent":
            return Image.new("RGBA", size, (200, 100, 50, 0)), [0, 0, 0]
        case "P":
            return Image.new("RGB", size, (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE), [10, 200, 30]
        case "I;16":
            return Image.fromarray(np.full(size, 0x8000, np.uint16)), [128, 128, 128]
        case "CMYK":
            return Image.new("CMYK", size, (255, 0, 0, 0)), [0, 255, 255]
    raise AssertionError(mode)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA", "transparent", "P", "I;16", "CMYK"])
def test_pictures_of_every_kind_become_rgb(mode: str, picture_folder: Path, folder: Callable[..., Stored]) -> None:
    picture, expected = as_saved(mode)
    ending = "tiff" if mode == "CMYK" else "png"
    (picture_folder / "test" / "cat" / "0.png").unlink()
    picture.save(picture_folder / "test" / "cat" / f"0.{ending}")
    found = only(folder(picture_folder))
    assert found.shape == (8, 8, 3)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1)


def test_a_palette_with_a_transparent_colour_becomes_rgb(picture_folder: Path, folder: Callable[..., Stored]) -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 250, 120, 60])
    picture.save(picture_folder / "test" / "cat" / "0.png", transparency=1)
    np.testing.assert_array_equal(only(folder(picture_folder)), np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "bmp", "gif", "webp", "ppm", "tif"])
def test_any_format_that_pillow_reads_will_do(ending: str, picture_folder: Path, folder: Callable[..., Stored]) -> None:
    save(np.full((8, 8, 3), 90, np.uint8), picture_folder / "test" / "cat" / f"00.{ending}")
    stored = folder(picture_folder)
    assert stored.counts["test"] == 5
    np.testing.assert_allclose(stored.images("test")[1], 90, atol=3)  # some formats are lossy


@pytest.mark.parametrize(("side", "image_size", "kept"), [(8, 8, 8), (8, 32, 8), (48, 32, 32)])
def test_square_pictures_are_kept_unless_they_are_larger_than_needed(
    side: int, image_size: int, kept: int, tmp_path: Path, folder: Callable[..., Stored]
) -> None:
    for part in ("train", "test"):
        for name in ("a", "b"):
            save(np.zeros((side, side, 3), np.uint8), tmp_path / "x" / part / name / "0.png")
    assert only(folder(tmp_path / "x", image_size)).shape == (kept, kept, 3)


def test_a_picture_that_is_not_square_is_cut_in_the_middle_or_stretched_as_the_protocol_says(
    picture_folder: Path, registry: Registry
) -> None:
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 255  # its middle third
    save(pixels, picture_folder / "test" / "cat" / "0.png")
    spec, location = registry.dataset(f"folder:{picture_folder}")
    cut, stretched = (prepare(spec, location, 12, resize=resize) for resize in ("crop", "stretch"))
    assert only(cut).shape == only(stretched).shape == (12, 12, 3)
    assert only(cut).min() > 200
    assert only(stretched)[:, 5:7].min() > 200 and only(stretched)[:, :2].max() < 50
    assert cut.fingerprint != stretched.fingerprint
    assert prepare(spec, location, 12, resize="stretch") == stretched  # each is decoded once


def test_a_picture_is_turned_as_its_camera_says(picture_folder: Path, folder: Callable[..., Stored]) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    save(pixels, picture_folder / "test" / "cat" / "0.png", exif=exif)
    np.testing.assert_array_equal(only(folder(picture_folder)), pixels[::-1])


def test_a_picture_that_its_camera_turns_by_a_quarter_fits_among_the_others(
    picture_folder: Path, folder: Callable[..., Stored]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(np.zeros((8, 12, 3), np.uint8), picture_folder / "test" / "cat" / "0.png", exif=exif)
    assert only(folder(picture_folder, 16)).shape == (16, 16, 3)


def test_other_files_and_hidden_ones_are_no_pictures(picture_folder: Path, folder: Callable[..., Stored]) -> None:
    for file in ("notes.txt", ".DS_Store", ".0.png", "Thumbs.db"):
        (picture_folder / "train" / "cat" / file).write_text("no picture")
    (picture_folder / "train" / ".cache").mkdir()
    assert folder(picture_folder).counts["train"] == 12


def test_a_picture_that_cannot_be_read_is_named(picture_folder: Path, folder: Callable[..., Stored]) -> None:
    (picture_folder / "train" / "dog" / "3.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"train.dog.3\.png cannot be read as a picture .* repair or remove it"):
        folder(picture_folder)


def test_a_picture_that_is_cut_short_is_named(picture_folder: Path, folder: Callable[..., Stored]) -> None:
    file = picture_folder / "train" / "dog" / "3.png"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RequestError, match=r"train.dog.3\.png cannot be read"):
        folder(picture_folder)


def empty_a_class(path: Path) -> None:
    for file in (path / "train" / "dog").iterdir():
        file.unlink()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty class": (empty_a_class, "train/dog is empty: add pictures, or remove the class"),
    "one class": (lambda path: shutil.rmtree(path / "train" / "dog"), "has 1 class"),
    "no class": (lambda path: [shutil.rmtree(path / "train" / name) for name in ("cat", "dog")], "has 0 class"),
    "no test pictures": (lambda path: shutil.rmtree(path / "test"), "has no folder test/"),
    "no training pictures": (lambda path: shutil.rmtree(path / "train"), "has no folder train/"),
    "an empty class of the test": (lambda path: (path / "test" / "dog" / "0.png").unlink()
                                   or (path / "test" / "dog" / "1.png").unlink(), "test/dog is empty"),
    "a class that is never trained": (lambda path: (path / "test" / "dog").rename(path / "test" / "fox"), "fox"),
    "no class in the test": (lambda path: [shutil.rmtree(path / "test" / name) for name in ("cat", "dog")], "test"),
    "nothing at all": (shutil.rmtree, "no such folder"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "says"), WRONG.values(), ids=list(WRONG))
def test_a_folder_that_is_not_as_it_should_be_is_refused_in_words_that_say_what_to_do(
    spoil: Callable[[Path], object], says: str, picture_folder: Path, folder: Callable[..., Stored]
) -> None:
    spoil(picture_folder)
    with pytest.raises(RequestError) as refused:
        folder(picture_folder)
    assert says in str(refused.value)


def test_folder_without_a_path_says_how_to_give_one(folder: Callable[..., Stored]) -> None:
    with pytest.raises(RequestError, match="folder:DIR"):
        folder("")


@pytest.fixture
def decoded(registry: Registry, picture_folder: Path) -> Callable[..., int]:
    """`decoded()`: how many pictures it takes to have the folder's stored; 0 where they were in the cache."""

    def count(size: int = 32) -> int:
        told: list[Event] = []
        spec = registry.datasets["folder"][0]
        prepare(spec, str(picture_folder), size, told.append)
        return max((event.done for event in told if isinstance(event, DataProgress)), default=0)

    return count


def test_a_folder_is_decoded_once(decoded: Callable[..., int]) -> None:
    assert (decoded(), decoded()) == (16, 0)


CHANGES: dict[str, Callable[[Path], object]] = {
    "added": lambda path: save(np.zeros((8, 8, 3), np.uint8), path / "train" / "cat" / "new.png"),
    "removed": lambda path: (path / "train" / "cat" / "0.png").unlink(),
    "replaced": lambda path: save(np.ones((8, 8, 3), np.uint8), path / "train" / "cat" / "0.png"),
    "moved to another class": lambda path: (path / "train" / "cat" / "0.png").rename(path / "train" / "dog" / "x.png"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_picture_that_was_changed_decodes_the_folder_anew(
    change: Callable[[Path], object], decoded: Callable[..., int], picture_folder: Path, folder: Callable[..., Stored]
) -> None:
    before = folder(picture_folder).fingerprint
    change(picture_folder)
    assert decoded() > 0
    assert folder(picture_folder).fingerprint != before


def test_a_folder_that_was_moved_keeps_its_fingerprint(
    picture_folder: Path, folder: Callable[..., Stored], tmp_path: Path
) -> None:
    before = folder(picture_folder).fingerprint
    moved = picture_folder.rename(tmp_path / "elsewhere")
    assert folder(moved).fingerprint == before


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "archive"), [("cifar10", "cifar-10-python.tar.gz"), ("cifar100", "cifar-100-python.tar.gz")]
)
def test_without_a_network_one_line_says_where_to_put_the_archive(name: str, archive: str, registry: Registry) -> None:
    with pytest.raises(RequestError) as refused:
        prepare(registry.datasets[name][0], "", 32)
    said = str(refused.value)
    assert "\n" not in said
    assert f"https://www.cs.toronto.edu/~kriz/{archive}" in said
    assert str(cache_folder() / archive) in said
    assert "MD5" in said


@pytest.mark.usefixtures("no_network")
def test_an_archive_that_is_another_is_named(registry: Registry) -> None:
    cache_folder().mkdir()
    archive = cache_folder() / "cifar-10-python.tar.gz"
    archive.write_bytes(b"something else")
    with pytest.raises(RequestError, match=r"cifar-10-python\.tar\.gz is not the archive .* remove it"):
        prepare(registry.datasets["cifar10"][0], "", 32)


def test_the_real_pictures_of_cifar10_are_read_through_a_folder(
    cifar10_folder: Path, cifar10_sample: Path, folder: Callable[..., Stored]
) -> None:
    stored = folder(cifar10_sample)
    assert stored.counts == {"train": 1000, "test": 200}
    assert stored.classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    assert stored.images("train").shape == (1000, 32, 32, 3)
    first_bird = np.asarray(Image.open(cifar10_folder / "train" / "bird" / "0000.jpg"))
    np.testing.assert_array_equal(stored.images("train")[200], first_bird)


@pytest.mark.slow
def test_all_real_pictures_are_found(cifar10_folder: Path, registry: Registry) -> None:
    spec: DatasetSpec = registry.datasets["folder"][0]
    pictures = spec.load(location=str(cifar10_folder), image_size=32, cache=cache_folder())
    assert (len(pictures.train.pictures), len(pictures.test.pictures)) == (50_000, 10_000)
    assert np.bincount(pictures.train.labels).tolist() == [5_000] * 10
    assert np.asarray(pictures.train.pictures[49_999]).shape == (32, 32, 3)


def test_a_name_that_is_no_text_is_named_and_to_be_renamed(registry: Registry, picture_folder: Path) -> None:
    cats = picture_folder / "train" / "cat"
    (cats / "0.png").rename(cats / os.fsdecode(b"\xff.png"))
    with pytest.raises(RequestError, match=r"the name b'.xff.png' is not UTF-8: rename it"):
        prepare(registry.datasets["folder"][0], str(picture_folder), 8)


def test_a_picture_that_would_fill_the_memory_is_named(
    registry: Registry, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(RequestError, match=r"train/cat/0\.png cannot be read as a picture"):
        prepare(registry.datasets["folder"][0], str(picture_folder), 8)


PICTURE = io.BytesIO()
Image.new("RGB", (8, 8), "red").save(PICTURE, "PNG")
NAMES = st.text(st.characters(blacklist_characters="/\x00"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and len(os.fsencode(name)) < 200
)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "test", "val", "other"]),
            NAMES,
            NAMES.map(lambda name: f"{name}.png") | NAMES,
            st.just(PICTURE.getvalue()) | st.binary(max_size=40),
        ),
        max_size=10,
    )
)
def test_any_folder_is_a_dataset_or_refused_in_a_line(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, str, str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for part, kind, name, content in files:
        with contextlib.suppress(OSError):  # a file in a folder's place
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
            (folder / part / kind / name).write_bytes(content)
    try:
        stored = prepare(registry.datasets["folder"][0], str(folder), 8)
    except RequestError as error:
        assert str(error)
    else:
        assert len(stored.classes) >= 2 and stored.counts["train"] >= 2

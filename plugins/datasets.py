"""The bundled datasets: digits (no network), CIFAR-10 and CIFAR-100, and any folder of pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench import DatasetSpec, Pictures, RequestError, Split, UnreachableError, hookimpl


@hookimpl
def bench_datasets():
    yield DatasetSpec("digits", load_digits, "scikit-learn's embedded digits, 8 × 8", key=lambda *_: "1")
    yield DatasetSpec("cifar10", load_cifar10, "Krizhevsky, 2009; downloaded by torchvision", key=lambda *_: "1")
    yield DatasetSpec("cifar100", load_cifar100, "Krizhevsky, 2009; downloaded by torchvision", key=lambda *_: "1")
    yield DatasetSpec("folder", load_folder, "folder:DIR with train/, test/ and maybe val/", key=folder_key)


def load_digits(*, location: str, image_size: int, cache: Path) -> Pictures:
    """1,797 grey digits of 8 × 8; a fifth of each class for testing, always the same."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    pictures = np.repeat(grey[..., None], 3, axis=3)
    train, test = train_test_split(np.arange(len(pictures)), test_size=0.2, random_state=0, stratify=digits.target)
    return Pictures(
        classes=[str(name) for name in digits.target_names],
        train=Split(pictures[train], digits.target[train]),
        test=Split(pictures[test], digits.target[test]),
    )


def load_cifar10(*, location: str, image_size: int, cache: Path) -> Pictures:
    """50,000 training and 10,000 test pictures of ten classes, 32 × 32."""
    return _cifar("CIFAR10", cache)


def load_cifar100(*, location: str, image_size: int, cache: Path) -> Pictures:
    """50,000 training and 10,000 test pictures of a hundred classes, 32 × 32."""
    return _cifar("CIFAR100", cache)


def _cifar(name: str, cache: Path) -> Pictures:
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        train, test = (kind(str(cache), train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        archive = cache / kind.filename
        if archive.exists():
            raise RequestError(f"{archive} is not the archive of {kind.url}: {error}; remove it") from None
        raise UnreachableError(
            f"{name} cannot be downloaded ({error}); put {kind.url} (MD5 {kind.tgz_md5}) at {archive}"
        ) from None
    return Pictures(
        classes=train.classes,
        train=Split(train.data, train.targets),
        test=Split(test.data, test.targets),
    )


@dataclass(frozen=True)
class PictureFiles(Sequence):
    """Picture files that are decoded when asked for: RGB, and `side` × `side` (cut or stretched) if one is given."""

    files: list[Path]
    side: int | None
    resize: str = "crop"

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        from PIL import Image, ImageOps

        file = self.files[index]
        try:
            with Image.open(file) as opened:
                picture = as_rgb(ImageOps.exif_transpose(opened))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise RequestError(f"{file} cannot be read as a picture ({error}); repair or remove it") from None
        if self.side is not None:
            scaled = picture.resize if self.resize == "stretch" else partial(ImageOps.fit, picture)
            picture = scaled((self.side, self.side), Image.Resampling.BICUBIC)
        return np.asarray(picture)


def as_rgb(picture):
    """The picture in RGB: grey three times, transparency over black, sixteen bits scaled to eight."""
    from PIL import Image

    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return picture.convert("RGB")


def load_folder(*, location: str, image_size: int, cache: Path, resize: str = "crop") -> Pictures:
    """The pictures of DIR/train/CLASS/…, DIR/test/CLASS/… and, if there is one, DIR/val/CLASS/….

    Pictures all of one size, square and no larger than the image size, are kept as they are; others
    are scaled until their shorter side is the image size, and cut to a square in the middle, or stretched to it.
    """
    from PIL import Image

    parts = _scan(location)
    classes = sorted(parts["train"])
    sizes = set()
    for files in (files for by_class in parts.values() for files in by_class.values()):
        for file in files:
            try:
                with Image.open(file) as picture:  # reads the header only
                    sizes.add(picture.size)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise RequestError(f"{file} cannot be read as a picture ({error}); repair or remove it") from None
    width, height = next(iter(sizes))
    as_they_are = len(sizes) == 1 and width == height <= image_size
    splits = {}
    for part, by_class in parts.items():
        labelled = [(file, classes.index(name)) for name in sorted(by_class) for file in by_class[name]]
        pictures = PictureFiles([file for file, _ in labelled], None if as_they_are else image_size, resize)
        splits[part] = Split(pictures, [label for _, label in labelled])
    return Pictures(classes=classes, **splits)


def folder_key(location: str, image_size: int, resize: str = "crop") -> str:
    """Names the folder's content without opening a picture: every file's path, size and time of change."""
    way = "" if resize == "crop" else f"{resize}\n"
    digest = hashlib.sha256(os.fsencode(f"{Path(location).resolve()}\n{image_size}\n{way}"))
    for by_class in _scan(location).values():
        for name in sorted(by_class):
            for file in by_class[name]:
                status = file.stat()
                digest.update(os.fsencode(f"{file}\n{status.st_size}\n{status.st_mtime_ns}\n"))
    return digest.hexdigest()


def _scan(location: str) -> dict[str, dict[str, list[Path]]]:
    """The picture files of each part and class, sorted. Raises RequestError where the folder is not as it should be."""
    if not location:
        raise RequestError("dataset folder: say which one, as in --data folder:DIR")
    folder = Path(location)
    if not folder.is_dir():
        raise RequestError(f"--data folder:{location}: no such folder")
    parts = {}
    for part in ("train", "val", "test"):
        if (folder / part).is_dir():
            parts[part] = {name: _pictures_in(folder / part / name) for name in _folders_in(folder / part)}
        elif part != "val":
            raise RequestError(f"{folder} has no folder {part}/; it needs train/ and test/, with one folder a class")
    for part, by_class in parts.items():
        if len(parts["train"]) < 2:
            raise RequestError(
                f"{folder / 'train'} has {len(parts['train'])} class folders; a classifier needs at least 2"
            )
        if unknown := sorted(set(by_class) - set(parts["train"])):
            raise RequestError(f"{folder / part} has a class that train/ has not: {unknown[0]}")
        for name, files in by_class.items():
            for unreadable in (one for one in (name, *(file.name for file in files)) if not _is_text(one)):
                raise RequestError(f"{folder / part}: the name {os.fsencode(unreadable)!r} is not UTF-8: rename it")
            if not files:
                raise RequestError(f"{folder / part / name} is empty: add pictures, or remove the class")
    return parts


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folders_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _pictures_in(folder: Path) -> list[Path]:
    """Every file whose name ends as a picture's that Pillow reads, hidden ones aside."""
    from PIL import Image

    endings = Image.registered_extensions()
    return sorted(
        Path(entry.path)
        for entry in os.scandir(folder)
        if entry.is_file() and entry.name[0] != "." and Path(entry.name).suffix.lower() in endings
    )

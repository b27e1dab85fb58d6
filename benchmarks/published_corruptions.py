"""What the authors' own programs make of a photograph: the vectors that the tests hold bench's corruptions against.

    git clone https://github.com/hendrycks/robustness
    python -m pip install numpy pillow scipy scikit-learn scikit-image opencv-python-headless Wand  # and ImageMagick 6
    python benchmarks/published_corruptions.py robustness/ImageNet-C/create_c tests/measure/corruptions.npz

Each corruption and severity of CIFAR-10-C, Tiny ImageNet-C and ImageNet-C is made of one photograph of 32, 64 and 224
pixels, NumPy's generator started from the severity. Of each the file has the pixels at SIZE/places (`--all`: every
one) as SIZE/CORRUPTION, an array (5, pixels, 3). Their programs are read from that folder, with names that libraries
have changed since; nothing of them is in bench. Made with scikit-image 0.26.0, OpenCV 4.14.0, SciPy 1.17.1, Wand 0.7.2
with ImageMagick 6.9.11-60, Pillow 13.0.0, NumPy 2.4.6.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

PROGRAMS = {32: "make_cifar_c.py", 64: "make_tinyimagenet_c.py", 224: "make_imagenet_c.py"}
RENAMED = {
    "np.float_": "np.float64",
    "np.fromstring": "np.frombuffer",
    "multichannel=True": "channel_axis=-1",
    "scipy.ndimage.interpolation": "scipy.ndimage",
}
NAMES = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
PLACES = 80


def photograph(size: int) -> np.ndarray:
    """A part of scikit-learn's photograph of a temple, of that side: (size, size, 3), uint8."""
    shrunk = 256 // size
    part = load_sample_image("china.jpg")[100 : 100 + size * shrunk, 60 : 60 + size * shrunk]
    return part.reshape(size, shrunk, size, shrunk, 3).mean((1, 3)).astype(np.uint8)


def functions_of(program: Path) -> dict[str, Any]:
    """The corruptions that the program defines."""
    text = program.read_text().partition("# /////////////// Distortion Helpers")[2]
    text = text.partition("# /////////////// End Distortions")[0]
    for before, now in RENAMED.items():
        text = text.replace(before, now)
    names: dict[str, Any] = {"np": np}
    exec(compile(f"#{text}", program.name, "exec"), names)
    return names


def made(program: Path, size: int, name: str, severity: int) -> np.ndarray:
    """What the program makes of the photograph, as its files have it."""
    names = functions_of(program)
    np.random.seed(severity)
    sk = names["sk"]
    plain = sk.util.random_noise
    sk.util.random_noise = functools.partial(plain, rng=severity)
    try:
        return np.uint8(names[name](Image.fromarray(photograph(size)), severity))
    finally:
        sk.util.random_noise = plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--all", action="store_true")
    asked = parser.parse_args()
    found = {}
    for size, program in PROGRAMS.items():
        places = np.sort(np.random.default_rng(size).choice(size**2, size**2 if asked.all else PLACES, replace=False))
        found[f"{size}/places"] = places.astype(np.uint16)
        for name in NAMES:
            pictures = [made(asked.programs / program, size, name, severity) for severity in range(1, 6)]
            found[f"{size}/{name}"] = np.stack(pictures).reshape(5, -1, 3)[:, places]
    np.savez_compressed(asked.to, **found)


if __name__ == "__main__":
    main()

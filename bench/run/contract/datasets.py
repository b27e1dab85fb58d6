"""A dataset, held against the contract: loaded at two sizes, and looked at."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from bench.data.cache import taken
from bench.data.decode import parts_of, room_of
from bench.hookspecs import Pictures
from bench.plugins import Registry
from bench.run.contract import Finding, Findings, WrongError

SIZES = (32, 64)


def check(name: str, registry: Registry) -> list[Finding]:
    """Everything that is found of the dataset, loaded without a location."""
    spec, plugin = registry.datasets[name]
    found = Findings(plugin)

    def load(size: int) -> Pictures:
        with tempfile.TemporaryDirectory() as cache:
            given = {"location": "", "image_size": size, "cache": Path(cache)}
            return spec.load(**given, **taken(spec.load, {"resize": "crop"}))

    pictures: dict[int, Pictures] = {}
    with found.of("loads at two image sizes, its pictures as the contract wants them"):
        for size in SIZES:
            pictures[size] = load(size)
            room_of(name, pictures[size])
    if len(pictures) < len(SIZES):
        return found.found
    with found.of("gives the same pictures each time"):
        again = load(SIZES[0])
        for part, split in parts_of(pictures[SIZES[0]]).items():
            other = parts_of(again)[part]
            alike = np.array_equal(split.pictures[0], other.pictures[0])
            if not alike or not np.array_equal(np.asarray(split.labels), np.asarray(other.labels)):
                raise WrongError(f"{part} differs from one load to the next: draw by a fixed seed, sort what is listed")
    with found.of("shows every class in training and in testing"):
        for part in ("train", "test"):
            labels = np.asarray(parts_of(pictures[SIZES[0]])[part].labels)
            missing = sorted(set(range(len(pictures[SIZES[0]].classes))) - {*labels.tolist()})
            if missing:
                names = ", ".join(pictures[SIZES[0]].classes[number] for number in missing[:5])
                raise WrongError(f"{part} has no picture of {names}")
    with found.of("names its content without decoding it, so that it is decoded once"):
        if spec.key is None:
            raise WrongError("it has no `key`: every run decodes it again")
        keys = [spec.key("", size, **taken(spec.key, {"resize": "crop"})) for size in (*SIZES, SIZES[0])]
        if keys[0] != keys[2]:
            raise WrongError("`key` gives another text each time")
        if not all(isinstance(key, str) for key in keys):
            raise WrongError("`key` has to give a text")
    return found.found

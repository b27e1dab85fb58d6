"""What of a model trains under a protocol, counted without weights, data or training: results/trainable/*.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.files import file_name, read_regular, write_text
from bench.protocol import Protocol
from bench.records.efficiency import Part
from bench.records.quantities import at

FOLDER = "trainable"


class Trainable(Part):
    """A model's parameters and those that train, with a head of `classes`, under a protocol's settings."""

    schema_version: int = 1
    model: str
    protocol: str
    fingerprint: str
    settings: dict[str, Any]
    classes: int
    params: int
    trainable_params: int
    versions: dict[str, str]

    @classmethod
    def of(cls, model: str, protocol: Protocol, classes: int, params: int, trainable: int) -> Trainable:
        """With the versions of what built the model here."""
        return cls(
            model=model,
            protocol=protocol.name,
            fingerprint=protocol.fingerprint,
            settings=protocol.settings(),
            classes=classes,
            params=params,
            trainable_params=trainable,
            versions={package: version(package) for package in ("torch", "timm")},
        )

    def agrees(self, under: Mapping[str, Any]) -> bool:
        """Whether it was counted under these settings, named as in evidence.setting."""
        found = ((self.classes if key == "classes" else at(self.settings, key), value) for key, value in under.items())
        return all(own == value for own, value in found)


def write_trainable(results: Path, one: Trainable) -> Path:
    """Write it into its place; the file."""
    file = results / FOLDER / f"{file_name(one.model)}-{file_name(one.protocol)}.json"
    write_text(file, json.dumps(one.model_dump(mode="json"), indent=1) + "\n")
    return file


def read_trainable(results: Path) -> tuple[list[Trainable], list[str]]:
    """All of a results folder, and a line for each damaged one, which is left out."""
    found, damaged = [], []
    for file in sorted((results / FOLDER).glob("*.json")):
        try:
            found.append(Trainable.model_validate_json(read_regular(file)))
        except OSError as error:
            damaged.append(f"{file}: cannot be read: {error.strerror}")
        except ValidationError as error:
            damaged.append(f"{file}: no count of trainable parameters: {error.errors()[0]['msg']}")
    return found, damaged

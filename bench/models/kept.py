"""A trained model kept beside its record: `model.safetensors`, its tensors, and `model.json`, how to build it again.

The tensors are the whole classifier's, frozen ones and the head included; nothing in either file runs code.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save

from bench.data.batches import Preparation
from bench.errors import RequestError
from bench.files import DISTRIBUTION, write_bytes, write_text
from bench.models.classifier import Classifier, assembled
from bench.models.weights.read import KEPT, read_tensors
from bench.plugins import Model, load_plugins
from bench.protocol import Head, Protocol

SCHEMA = 1
TENSORS, DESCRIPTION = "model.safetensors", "model.json"
PACKAGES = ("torch", "timm")


class KeptModel(BaseModel):
    """What model.json says: all that is needed to build the classifier again, and to prepare pictures for it."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, frozen=True)

    # Named `schema` in the file, which pydantic keeps for itself.
    schema_version: int = Field(default=SCHEMA, alias="schema")
    name: str  # with its options, as for `run`
    plugin: str
    code: str  # SHA-256 of the plugin's source
    options: dict[str, Any]  # all that it was built with, the protocol's too
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "crop"
    head: Head
    protocol: str
    fingerprint: str  # the protocol's
    versions: dict[str, str | None] = {}
    sha256: str = ""  # of model.safetensors

    @classmethod
    def of(cls, model: Model, protocol: Protocol, classes: Sequence[str], prepare: Preparation) -> Self:
        """The description of that model as trained by that protocol on those classes."""
        asked = dict(protocol.model.options)
        return cls(
            name=model.name,
            plugin=model.plugin.name,
            code=model.code,
            options=model.options_under(asked) | model.offered(asked),
            classes=tuple(classes),
            image_size=prepare.image_size,
            mean=prepare.mean,
            std=prepare.std,
            resize=prepare.resize,
            head=protocol.head,
            protocol=protocol.name,
            fingerprint=protocol.fingerprint,
            versions={"bench": _version(DISTRIBUTION)} | {package: _version(package) for package in PACKAGES},
        )

    @property
    def preparation(self) -> Preparation:
        """What becomes of a picture before the model sees it."""
        return Preparation(self.image_size, self.mean, self.std, self.resize)


def write_model(folder: Path, classifier: Classifier, described: KeptModel) -> None:
    """Write the classifier as it is now: its tensors, then what describes them, each file whole or not at all."""
    # Copies in the plain order: some tensors lie channels-last, and two names may share one tensor.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in classifier.state_dict().items()
    }
    content = save(tensors, metadata={KEPT: described.name})
    write_bytes(folder / TENSORS, content)
    described = described.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    write_text(folder / DESCRIPTION, json.dumps(described.model_dump(mode="json", by_alias=True), indent=1) + "\n")


def read_description(folder: Path) -> KeptModel:
    """What describes the model kept in that folder. Raises RequestError where none is, or none that can be read."""
    file = folder / DESCRIPTION
    try:
        described = KeptModel.model_validate_json(file.read_bytes())
    except OSError as error:
        raise RequestError(f"{folder}: holds no kept model: {file.name}: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise RequestError(f"{file}: describes no kept model: {where}: {problem['msg']}") from None
    if described.schema_version > SCHEMA:
        raise RequestError(
            f"{file}: schema {described.schema_version} is newer than this bench's ({SCHEMA}): update bench"
        )
    return described


def load_model(folder: Path | str, plugins: Sequence[Path | str] = ()) -> Classifier:
    """The classifier kept in a trial's folder, on the CPU and in evaluation mode.

    It takes images (N, 3, S, S) to logits (N, classes). `plugins` are folders with plugins, as for `run`. How
    pictures are prepared for it, and its classes, are in `read_description`. Raises RequestError where the files are
    missing, damaged or not of one model, where no plugin has the model, or the plugin builds another network by now;
    warns where only the plugin's code has changed.

    >>> import torch
    >>> bench.load_model("results/first/vit_tiny/seed0")(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    folder = Path(folder)
    described = read_description(folder)
    state = read_tensors(folder / TENSORS)
    if hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest() != described.sha256:
        raise RequestError(f"{folder / TENSORS}: is damaged, or not of the model that {DESCRIPTION} describes")
    model = load_plugins([Path(plugin) for plugin in plugins]).model(described.name)
    changed = "" if model.code == described.code else f"; its plugin {described.plugin} has changed since"
    classifier = assembled(model, described.image_size, len(described.classes), described.options, described.head)
    wanted = classifier.state_dict()
    for name in [*wanted, *state]:
        if name not in wanted or name not in state or wanted[name].shape != state[name].shape:
            raise RequestError(f"{folder}: {described.name} is another network now: {name} does not fit{changed}")
    classifier.load_state_dict(state)
    if changed:
        warnings.warn(f"{folder}: {described.name} fits{changed}", stacklevel=2)
    return classifier.eval()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

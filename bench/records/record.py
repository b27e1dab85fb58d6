"""The record of a trial, its schema, and the reading and writing of results folders.

A record is everything that is known of one trial: one JSON file, written atomically, validated when
read. Sizes in bytes, times in seconds unless the name says otherwise, accuracies in 0..1. What was
not measured is null.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from bench.files import read_regular, write_bytes
from bench.protocol import fingerprint_of
from bench.records.efficiency import MOST, Count, Efficiency, Finite, Name, Part, Share
from bench.records.quantities import Quantity

NAME = "record.json"
SCHEMA = 2
MOST_CLASSES = 100_000
MOST_ANSWER = 10_000_000  # bytes of what a plugin measures
LARGEST = 100_000_000  # bytes of a record: what is larger is none
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Status = Literal["ok", "oom", "diverged", "timeout", "crashed", "error", "interrupted"]


class Failure(Part):
    type: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The error's kind, and the first line of what it says."""
        unsaid = "out of memory" if isinstance(error, MemoryError) else "no message"
        return cls(type=type(error).__name__, message=str(error).partition("\n")[0] or unsaid)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class ExtensionRecord(Part):
    name: Name
    plugin: Name
    source: str = ""
    options: dict[str, Any] = {}  # all of them, with their defaults
    resolved_options: dict[str, Any] = {}
    code: str = ""


class ModelRecord(Part):
    name: Name
    base: str = ""  # what is extended, as the user would type it; records from before there were extensions lack it
    extensions: list[ExtensionRecord] = []
    plugin: Name
    family: Name
    source: str
    options: dict[str, Any]
    resolved_options: dict[str, Any] = {}  # what the model made of options that leave something open
    code: str = ""  # SHA-256 of the plugin's source; where it is extended, of its plugins'
    input_size: list[int] | None = None
    params: Count | None = None
    trainable_params: Count | None = None
    training_only_params: Count | None = None  # in neither: they serve a loss term of training, never inference
    weights: dict[str, Any] | None = None


class ProtocolRecord(Part):
    name: Name
    fingerprint: Name
    settings: dict[str, Any]
    description: str = ""


class DataRecord(Part):
    name: str
    fingerprint: Name
    classes: Annotated[list[str], Field(max_length=MOST_CLASSES)]
    train: Count
    val: Count
    test: Count


class Accuracy(Part):
    val_top1: Share
    test_top1: Share
    test_top5: Share
    test_loss: Finite
    macro_f1: Share
    ece: Share
    per_class: dict[str, dict[str, Finite]]
    confusion: list[list[Count]]

    @model_validator(mode="after")
    def _square(self) -> Accuracy:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("confusion has not as many columns as rows")
        return self


class History(Part):
    train_loss: list[Finite] = []
    val_loss: list[Finite] = []
    train_top1: list[Share] = []
    val_top1: list[Share] = []
    extra_loss: list[Finite] = []  # the model's own loss term, as added to train_loss; empty where it has none


class Training(Part):
    epochs: Count
    best_epoch: Count
    stopped_early: bool
    seconds: Seconds
    epoch_seconds: list[Seconds]
    # Those of them in which a process began: kernels are searched for, code is compiled. They are in no mean.
    warm_up_epochs: list[Count] = [1]
    images_per_second: Seconds | None = None
    seconds_to_best: Seconds
    history: History
    # Whether the frozen part's features were computed once, what that cost (in `seconds` too), or why not.
    frozen_prefix: dict[str, Any] | None = None
    # On a device with graphs: whether steps were replayed as one, or why not.
    graph: dict[str, Any] | None = None
    # Of how many pictures the parts were that each batch was computed in, where whole ones did not fit.
    micro_batch: Count | None = None
    # All tries and what they cost, where the protocol tunes; `epoch_seconds` and `seconds` are the chosen one's.
    tuning: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _of_so_many_epochs(self) -> Training:
        if self.best_epoch > self.epochs:
            raise ValueError(f"best_epoch is {self.best_epoch}, of {self.epochs}")
        return self

    @property
    def steady_seconds(self) -> list[float]:
        """Seconds of each epoch's training, without those that warm up."""
        return [s for epoch, s in enumerate(self.epoch_seconds, start=1) if epoch not in self.warm_up_epochs]

    @property
    def seconds_per_epoch(self) -> float | None:
        """Mean seconds of an epoch's training, warm-up left out; None where there was nothing else."""
        steady = self.steady_seconds
        return math.fsum(steady) / len(steady) if steady else None

    @property
    def overfitting_gap(self) -> float | None:
        """Training minus validation top-1 at the best epoch, in percentage points."""
        if not self.best_epoch or len(self.history.train_top1) < self.best_epoch:
            return None
        return 100 * (self.history.train_top1[self.best_epoch - 1] - self.history.val_top1[self.best_epoch - 1])


class Record(Part):
    """One trial. The parts are null where the trial ended before they were known; what was not measured is null.

    `record.json`, validated: sizes in bytes, times in seconds unless the name says otherwise, shares in 0..1. It is a
    pydantic model; `Record.model_fields` names the parts.

    >>> record = bench.load_records("results/first")[0]
    >>> record.status, record.seed, 0 <= record.accuracy.test_top1 <= 1
    ('ok', 0, True)
    """

    # Named `schema` in the file, which pydantic keeps for itself.
    schema_version: int = Field(default=SCHEMA, alias="schema")
    status: Status
    error: Failure | None = None
    seed: Annotated[int, Field(ge=0, le=MOST)]
    started: str = ""
    seconds: Seconds | None = None
    model: ModelRecord
    protocol: ProtocolRecord
    data: DataRecord
    environment: dict[str, Any] | None = None
    accuracy: Accuracy | None = None
    predictions_sha256: str | None = None  # of predictions.npz, from which `accuracy` follows
    training: Training | None = None
    efficiency: Efficiency | None = None
    # What plugins measured, by the measurement's name, and the quantities that lie in it.
    plugins: dict[str, Any] = {}
    quantities: list[Quantity] = []

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    @model_validator(mode="after")
    def _fingerprint_of_now(self) -> Record:
        """Schema 1 fingerprinted all settings, those at their defaults too; it holds them whole, so none is lost."""
        if self.schema_version == 1 and self.protocol.settings:
            self.protocol.fingerprint = fingerprint_of(self.protocol.settings)
        return self

    @model_validator(mode="after")
    def _as_many_classes(self) -> Record:
        confusion = self.accuracy.confusion if self.accuracy else []
        if confusion and self.data.classes and len(confusion) != len(self.data.classes):
            raise ValueError(f"confusion has {len(confusion)} rows, of {len(self.data.classes)} classes")
        return self

    @property
    def measured(self) -> Efficiency:
        """What was measured, where nothing was too."""
        return self.efficiency or Efficiency()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the keys of the design."""
        return self.model_dump(mode="json", by_alias=True)


# JSON as records are read.
ANSWER = TypeAdapter(dict[str, dict[str, Any]])


class RecordError(ValueError):
    """A file that is no record; the text names it and says why."""


def read_record(file: Path) -> Record:
    """The record in that file; RecordError where it is none, or of a schema newer than this bench."""
    return parse_record(read_regular(file), file)


def parse_record(content: bytes, file: Path) -> Record:
    """As `read_record`, of what was read from that file."""
    try:
        if len(content) > LARGEST:
            raise RecordError(f"{file}: not a record: it has {len(content):,} bytes")
        record = Record.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise RecordError(f"{file}: not a record: {where}: {problem['msg']}") from None
    if record.schema_version > SCHEMA:
        raise RecordError(f"{file}: schema {record.schema_version} is newer than this bench's ({SCHEMA}): update it")
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write the record into its trial's folder: one that can be read back."""
    content = json_bytes(record.to_json())
    parse_record(content, folder / NAME)
    write_bytes(folder / NAME, content)


def json_bytes(document: Any) -> bytes:
    """The document as a file has it. What no text can hold (a lone surrogate) becomes a question mark.

    Raises ValueError for what is no number.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def as_read(value: Any) -> Any:
    """A plugin's answer as a record that holds it will be read; ValueError for what could not be read back."""
    content = json.dumps({"plugins": {"name": value}}, allow_nan=False).encode()
    if len(content) > MOST_ANSWER:
        raise ValueError(f"it has {len(content):,} bytes; at most {MOST_ANSWER:,} are kept")
    return ANSWER.validate_json(content)["plugins"]["name"]

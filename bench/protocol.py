"""The protocol: all that the trials of one comparison share, read from TOML, validated, fingerprinted.

Nothing that influences a trial's result is outside it, but for the model, the seed and the machine.
"""

from __future__ import annotations

import hashlib
import json
import random
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from bench.errors import RequestError, unknown
from bench.files import bundled

# In which numbers a model computes.
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
# Leaves room for what is added to it in a folder's name, of which file systems take 255 bytes.
LONGEST_NAME = 100
# What lies in a results folder beside the protocols' own; in small letters, for some file systems know no others.
TAKEN = {"reference", "measure", "trainable", "readme.md", "findings.md", "claims.md", "index.html"}
# torch takes no larger one.
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
# Of a TOML file: what is longer, or nested more deeply, is no protocol, and would take the parser minutes.
LONGEST_FILE, DEEPEST, LONGEST_LINE = 1_000_000, 50, 10_000
# Of a setting that is a word or a table, which of them a value is held against; neither is part of its name.
WORD, TABLE = "(word)", "(table)"
# A description of what the command line changed: the protocol by its name, and the settings.
CHANGED = "{} with {}"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(_Section):
    """Which pictures, how large, and which of them are for what."""

    dataset: str
    image_size: int = Field(ge=8, le=2048)
    # Share (below 1) or number of the training pictures held back for validation; ignored where the
    # dataset brings its own validation pictures.
    validation: float = Field(gt=0)
    split_seed: int = Field(default=0, ge=0, lt=2**32)
    # How a picture that is not square becomes so: "crop" keeps its aspect, scales its short side to the image size and
    # cuts the middle out; "stretch" scales both sides.
    resize: Literal["crop", "stretch"] = "crop"
    # At most so many test pictures, the same number of each class; 0: all.
    test_limit: int = Field(default=0, ge=0)


class Augmentation(_Section):
    """What is done to training pictures, never to others."""

    flip: bool = False
    # Shift by up to this share of the side, the border mirrored.
    crop: float = Field(default=0.0, ge=0, lt=0.5)
    # Show a box of at least this share of the picture, of an aspect of 3:4 to 4:3, at the image size; 0: the whole.
    resized_crop: float = Field(default=0.0, ge=0, lt=1)
    # So many of RandAugment's operations on each picture, of this magnitude (0..30); 0: none.
    rand_augment: int = Field(default=0, ge=0, le=10)
    magnitude: int = Field(default=9, ge=0, le=30)
    # Brightness, contrast and saturation, each times a factor of up to this far from one.
    color_jitter: float = Field(default=0.0, ge=0, lt=1)
    # With this probability erase a box of 2 to 33 % of a picture (Zhong et al., 2020).
    erase: float = Field(default=0.0, ge=0, le=1)
    # Mix pictures and their classes by a share from Beta(α, α): blended, or a box pasted; of both, by chance. 0: off.
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    # Show each picture in so many ways, drawn once, which every epoch chooses from; 0: each epoch draws anew. What is
    # behind a frozen prefix can then be trained on features that are computed once.
    views: int = Field(default=0, ge=0, le=1000)

    @property
    def varies(self) -> bool:
        """Whether it does more to a picture than to flip and to shift it."""
        return any((self.resized_crop, self.rand_augment, self.color_jitter, self.erase))

    @property
    def mixes(self) -> bool:
        """Whether it mixes the pictures of a batch."""
        return bool(self.mixup or self.cutmix)


class Model(_Section):
    """What is asked of every model."""

    weights: Literal["pretrained", "scratch"]
    # Options given to each model that has them, such as patch_size, or drop_path_rate for stochastic depth.
    options: dict[str, bool | int | float | str] = {}


class Head(_Section):
    """features → hidden layers (ReLU, dropout) → classes."""

    hidden: tuple[PositiveInt, ...] = ()
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Optimizer(_Section):
    # Muon (Jordan et al., 2024) trains matrices and kernels, NAdamW the rest, at AdamW's rates (Liu et al., 2025).
    name: Literal["adam", "adamw", "sgd", "muon"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of sgd and muon
    # What weight decay is of: all that trains, or only the matrices and kernels: no norm, bias, embedding or token.
    decayed: Literal["all", "weights"] = "all"
    # Each layer's rate is so many times that of the next one: below 1, early layers of the backbone change less.
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    # Gradients are scaled down to this norm at most; 0: never.
    clip_norm: float = Field(default=0.0, ge=0)


class Loss(_Section):
    """What training minimises; evaluation has the plain cross-entropy, so that losses compare."""

    # This share of the target is spread over all classes.
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    # A picture's weight by its class: balanced, so that every class weighs the same; or each class's, by its name.
    class_weights: Annotated[
        Annotated[Literal["none", "balanced"], Tag(WORD)]
        | Annotated[dict[str, Annotated[float, Field(gt=0)]], Tag(TABLE)],
        Discriminator(lambda value: TABLE if isinstance(value, dict) else WORD),
    ] = "none"


class Schedule(_Section):
    """How the learning rate goes: constant; × gamma an epoch; half a cosine; one cycle (Smith, 2018)."""

    name: Literal["constant", "exponential", "cosine", "one-cycle"]
    gamma: float = Field(default=1.0, gt=0, le=1)
    # Before it, the rate rises from nought to its first value, in so many epochs.
    warm_up: float = Field(default=0.0, ge=0)


class Train(_Section):
    # Everything, the last block and what is behind it, the head; or the head as a linear probe, which is no training by
    # steps but the best fit on the features of the pictures as they are (bench/train/probe.py).
    what: Literal["full", "last-block", "head", "probe"]
    epochs: int = Field(ge=1)
    # Stop after so many epochs without a better validation top-1; 0: never.
    patience: int = Field(default=0, ge=0)
    batch_size: int = Field(ge=1)
    # Each batch is computed in parts of so many pictures, with the same update (batch norm sees the parts); 0: whole.
    micro_batch: int = Field(default=0, ge=0)
    # Evaluate and keep a moving average of the weights, of which each step replaces one minus this share; 0: none.
    ema: float = Field(default=0.0, ge=0, lt=1)
    # auto: bf16 where the hardware multiplies it itself, else fp32; the record says which it was. tf32: float32 with
    # the shorter mantissa of NVIDIA's tensor cores, for convolutions and matrix products alike; fp32: for neither.
    precision: Literal["auto", Precision]
    # At most so many training pictures, the same number of each class; 0: all.
    limit: int = Field(default=0, ge=0)
    # This share of the training pictures, of each class the same share.
    fraction: float = Field(default=1.0, gt=0, le=1)
    # This share of the training labels is replaced by others, the same for every model and seed.
    label_noise: float = Field(default=0.0, ge=0, lt=1)
    # Keep the features of a frozen prefix in sixteen bits: half the memory, slightly other results.
    half_features: bool = False


class Tuning(_Section):
    """Equal effort in place of equal settings: each model tries the same values, and validation chooses its own."""

    # They take the place of optimizer.learning_rate and weight_decay, each rate with each decay; none: no tuning.
    learning_rates: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()
    weight_decays: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    # So many tries, drawn between the least and the greatest of each, evenly in their logarithms; 0: those named.
    tries: int = Field(default=0, ge=0, le=1000)

    @property
    def is_on(self) -> bool:
        """Whether anything is tried."""
        return bool(self.learning_rates or self.weight_decays)

    def values(self, optimizer: Optimizer) -> list[tuple[float, float]]:
        """The learning rate and the weight decay of each try, the same for every model and seed."""
        rates = self.learning_rates or (optimizer.learning_rate,)
        decays = self.weight_decays or (optimizer.weight_decay,)
        if not self.tries:
            return list(product(rates, decays))
        chance = random.Random(0)
        return [(_between(rates, chance), _between(decays, chance)) for _ in range(self.tries)]


def _between(values: Sequence[float], chance: random.Random) -> float:
    """A value from the least to the greatest, to three digits: who reads the record can type it."""
    low, high = min(values), max(values)
    return low if low == high else float(f"{low * (high / low) ** chance.random():.2e}")


class Protocol(_Section):
    """A validated protocol. `fingerprint` is equal for two protocols exactly if all that decides over a trial is.

    >>> from bench.protocol import load_protocol
    >>> load_protocol("quick", ["train.epochs=3"]).train.epochs
    3
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)
    description: str = ""
    seeds: tuple[Seed, ...] = Field(min_length=1)
    data: Data
    augmentation: Augmentation = Augmentation()
    model: Model
    head: Head = Head()
    optimizer: Optimizer
    schedule: Schedule
    loss: Loss = Loss()
    train: Train
    tuning: Tuning = Tuning()
    # Names or patterns of models that `--all` leaves out, and why.
    exclude: dict[str, str] = {}

    @field_validator("name")
    @classmethod
    def _not_a_name_of_ours(cls, name: str) -> str:
        if name.lower() in TAKEN:
            raise ValueError(f"name = {name!r}: results/{name} is for something else; choose another name")
        return name

    @model_validator(mode="after")
    def _last_batch_norm_needs_company(self) -> Protocol:
        for name in ("batch_size", "micro_batch"):
            if getattr(self.train, name) == 1 and self.train.what not in ("head", "probe"):
                raise ValueError(f"train.{name}: batch norm cannot train on one picture; use 2 or more")
        return self

    @model_validator(mode="after")
    def _settings_that_contradict(self) -> Protocol:
        train, rising = self.train, self.schedule.warm_up
        if train.micro_batch and train.batch_size % train.micro_batch:
            raise ValueError(f"train.micro_batch = {train.micro_batch} does not divide batch_size = {train.batch_size}")
        if train.ema and train.what == "head":
            raise ValueError("train.ema: what = head trains too little for an average; train more, or leave it out")
        if train.what == "probe" and (meant := self._beside_a_probe()):
            raise ValueError(f"train.what = probe fits one layer on the pictures as they are: leave out {meant}")
        if self.augmentation.crop and self.augmentation.resized_crop:
            raise ValueError("augmentation.crop and augmentation.resized_crop: choose one of them")
        shown = self.augmentation
        if shown.views and not (shown.flip or shown.crop or shown.varies):
            raise ValueError(f"augmentation.views = {shown.views}: nothing makes them differ; turn on flip, crop, …")
        tried = self.tuning
        if tried.tries and not any(len(set(one)) > 1 for one in (tried.learning_rates, tried.weight_decays)):
            raise ValueError("tuning.tries draws between values: name two learning_rates or weight_decays, or more")
        if tried.tries and len(set(tried.weight_decays)) > 1 and min(tried.weight_decays) == 0:
            raise ValueError("tuning.weight_decays: tries are drawn in logarithms, and 0 has none; name a small one")
        if rising >= train.epochs:
            raise ValueError(f"schedule.warm_up = {rising:g} leaves none of {train.epochs} epochs to the schedule")
        return self

    def _beside_a_probe(self) -> str:
        """The settings that would mean nothing for a linear probe."""
        shown, train = self.augmentation, self.train
        found = {
            "augmentation": shown.flip or shown.crop or shown.varies or shown.mixes,
            "head.hidden": self.head.hidden,
            "loss.label_smoothing": self.loss.label_smoothing,
            "tuning": self.tuning.is_on,
            "train.ema": train.ema,
            "train.micro_batch": train.micro_batch,
            "train.epochs above 1": train.epochs > 1,
        }
        return ", ".join(name for name, is_on in found.items() if is_on)

    def settings(self) -> dict[str, Any]:
        """All that decides over a trial, as plain JSON values. The name, the description and what `--all`
        leaves out do not; a folder's path is its owner's affair: its content has a fingerprint of its own."""
        settings = self.model_dump(mode="json", exclude={"name", "description", "exclude"})
        settings["data"]["dataset"] = self.data.dataset.partition(":")[0]
        return settings

    @property
    def fingerprint(self) -> str:
        """See `fingerprint_of`."""
        return fingerprint_of(self.settings(), type(self))

    @property
    def tries(self) -> tuple[Protocol, ...]:
        """The protocol once for each try; by itself where nothing is tuned."""
        optimizers = (
            self.optimizer.model_copy(update={"learning_rate": rate, "weight_decay": decay})
            for rate, decay in self.tuning.values(self.optimizer)
        )
        return tuple(self.model_copy(update={"optimizer": optimizer}) for optimizer in optimizers)

    def why_excluded(self, model: str) -> str | None:
        """Why `--all` leaves this model out under this protocol, or None."""
        return next((why for pattern, why in self.exclude.items() if fnmatchcase(model, pattern)), None)


def unequal(options: Mapping[str, Any], has: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Of a protocol's options those that only some models have: by option, the models without it.

    `has` are the options of each model.
    """
    without = {key: [model for model, own in has.items() if key not in own] for key in options}
    return {key: models for key, models in without.items() if models and len(models) < len(has)}


def fingerprint_of(settings: Mapping[str, Any], kind: type[BaseModel] = Protocol) -> str:
    """SHA-256 of what the settings choose: canonical JSON (keys sorted, no spaces) of those that are not the default.

    So a setting that is new, and by default changes nothing, leaves all fingerprints as they are. Which seeds a
    protocol runs decides over no trial. Settings that this bench does not know count as chosen.
    """
    chosen = {key: value for key, value in _chosen(settings, kind).items() if key != "seeds"}
    canonical = json.dumps(chosen, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _chosen(settings: Mapping[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """The settings without those that are as they would be if nobody had named them."""
    chosen: dict[str, Any] = {}
    for key, value in settings.items():
        field = kind.model_fields.get(key)
        if field is None:
            chosen[key] = value
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner = _chosen(value, field.annotation) if isinstance(value, dict) else value
            chosen |= {key: inner} if inner else {}
        elif field.is_required() or value != _plain(field.get_default(call_default_factory=True)):
            chosen[key] = value
    return chosen


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def protocol_files() -> dict[str, Path]:
    """The bundled protocols: name → TOML file."""
    return {file.stem: file for file in sorted(bundled("protocols").glob("*.toml"))}


def load_protocol(name_or_file: str, overrides: Iterable[str] = (), dataset: str | None = None) -> Protocol:
    """The protocol of that name, or in that TOML file, with `key=value` overrides (TOML values).

    Where the overrides leave the description as it is, it says what they change: the file's own words are of other
    settings. Raises RequestError, naming the line or the setting, where it is not valid.
    """
    settings = read_toml(_find(name_or_file))
    before, overrides = settings.get("name", name_or_file), list(overrides)
    for override in overrides:
        _apply(settings, override)
    if dataset is not None and isinstance(settings.setdefault("data", {}), dict):
        settings["data"]["dataset"] = dataset
    given = [*([] if dataset is None else [f"data.dataset={dataset}"]), *overrides]
    changed = [_told(one) for one in given if one.partition("=")[0].strip() not in ("name", "description")]
    if changed and not any(one.partition("=")[0].strip() == "description" for one in overrides):
        settings["description"] = CHANGED.format(before, ", ".join(changed))
    try:
        return Protocol.model_validate(settings)
    except ValidationError as error:
        raise RequestError(f"protocol {name_or_file}: {_first_problem(error)}") from None


def _told(override: str) -> str:
    """The override as a description has it: of a dataset's path its last name, for the path is its owner's affair."""
    key, _, value = (part.strip(" \"'") for part in override.partition("="))
    dataset, colon, place = value.partition(":")
    return f"{key}={dataset}:{Path(place).name}" if colon and key == "data.dataset" else override.strip()


def read_toml(file: Path) -> dict[str, Any]:
    """The file's content; RequestError with the line where it is not TOML."""
    try:
        if not file.is_file():
            raise RequestError(f"{file}: is no file")
        if file.stat().st_size > LONGEST_FILE:
            raise RequestError(f"{file}: is too long for a protocol")
        text = file.read_text(encoding="utf-8-sig")  # with or without the mark that some editors put first
        return parse_toml(text)
    except OSError as error:
        raise RequestError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{file}: is not UTF-8 text, which TOML has to be") from None
    except ValueError as error:
        raise RequestError(f"{file}: not valid TOML: {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """What the text says as TOML. Raises ValueError, fast, for what is none and for what no protocol would be."""
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"line {number} has {len(line):,} characters")
        if line.partition("=")[0].count(".") > DEEPEST:
            raise ValueError(f"line {number} names a key of too many parts")
        depth += line.count("[") + line.count("{") - line.count("]") - line.count("}")
        if depth > DEEPEST or max(line.count("["), line.count("{")) > DEEPEST:
            raise ValueError(f"line {number} is nested too deeply")
    return tomllib.loads(text)


def _find(name_or_file: str) -> Path:
    known = protocol_files()
    if name_or_file in known:
        return known[name_or_file]
    if name_or_file.endswith(".toml") or "/" in name_or_file or "\\" in name_or_file:
        file = Path(name_or_file)
        if not file.is_file():
            raise RequestError(f"--protocol {name_or_file}: no such file")
        return file
    raise unknown("protocol", name_or_file, known, "python -m bench protocols")


def _apply(settings: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise RequestError(f"--set {override}: write key=value, such as train.epochs=5")
    *sections, last = key.strip().split(".", DEEPEST)
    place = settings
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise RequestError(f"--set {override}: {section} is a value, not a section")
    place[last] = toml_value(text)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"] if part not in (WORD, TABLE))
    if problem["type"] == "extra_forbidden":
        return str(unknown("setting", where, setting_names(), "python -m bench protocols --settings"))
    if problem["type"] == "missing":
        return f"{where} is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    message = problem["msg"].removeprefix("Input ")
    message += ", or a table {name=number}" if WORD in problem["loc"] else ""
    return f"{where} = {_shortened(problem['input'])}: {message}"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def setting_names() -> Iterator[str]:
    """Every setting that a protocol can have, as `section.key`."""
    for name, field in Protocol.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section):
            yield from (f"{name}.{key}" for key in field.annotation.model_fields)
        else:
            yield name


def toml_value(text: str) -> Any:
    """The value that TOML gives the text; a bare word that is no TOML value is itself (a string)."""
    try:
        document = parse_toml(f"value = {text}")
    except ValueError:
        return text.strip()
    # More than one key: the text held a line break and a second assignment, so it is no single value.
    return document["value"] if len(document) == 1 else text.strip()

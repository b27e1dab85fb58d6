"""What makes two trials one: one rule for what is already recorded, what goes on from a checkpoint, what is compared.

A trial is a model (with its options, its plugin's code and the weights it starts from), a seed, the protocol, the data,
and the way it ran, as far as that changes what is shown: compiled or not, on which kind of device, with how many
threads, beside how many others, with a frozen prefix's features or without.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from bench.records.machine import threads_said
from bench.records.record import Record


@dataclass(frozen=True)
class Way:
    """How trials run, as far as it changes what is shown of them. `threads` counts on a CPU; elsewhere it is None.

    `sharing`: how many trials ran on the device at once.
    """

    device: str  # its kind: cpu, cuda, mps, …
    threads: int | None
    compiled: bool = False
    frozen_prefix: bool = True
    deterministic: bool = False
    compile_mode: str = "default"
    without_graphs: bool = False
    sharing: int = 1

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {threads_said(self.threads)}"
        mode = "" if self.compile_mode == "default" else f" {self.compile_mode}"
        parts = [f"{self.device}{threads}", *([f"compiled{mode}"] if self.compiled else [])]
        parts += [] if self.frozen_prefix else ["without cached features"]
        parts += ["deterministic"] if self.deterministic else []
        parts += ["without graphs"] if self.without_graphs else []
        parts += [f"{self.sharing} at once"] if self.sharing > 1 else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Identity:
    """One trial. Two records with the same are records of the same trial.

    `weights` is the SHA-256 of the file that the model starts from; None: the plugin alone sees to them.
    `options` are canonical JSON.
    """

    model: str
    options: str
    code: str
    weights: str | None
    seed: int
    protocol: str
    data: str
    way: Way | None

    @property
    def digest(self) -> str:
        """SHA-256 of it all: what a checkpoint's name bears, so that no other trial goes on from it."""
        return _digest(self)


def canonical(options: Mapping[str, Any]) -> str:
    """Options as `Identity` holds them."""
    return json.dumps(options, sort_keys=True, separators=(",", ":"))


def way_of(record: Record) -> Way | None:
    """The way the trial ran; None where it ended before that was known."""
    environment = record.environment
    if not environment or not environment.get("device_kind"):
        return None
    options = environment.get("options") or {}
    on_cpu = environment["device_kind"] == "cpu"
    return Way(
        environment["device_kind"],
        environment.get("threads") if on_cpu else None,
        bool(options.get("compile", False)),
        bool(options.get("frozen_prefix", True)),
        deterministic=bool(options.get("deterministic", False)),
        compile_mode=options.get("compile_mode") or "default",
        without_graphs=environment["device_kind"] == "cuda" and not options.get("graphs", True),
        sharing=environment.get("sharing") or 1,
    )


def identity_of(record: Record) -> Identity | None:
    """The trial that the record is of; None where it ended before all of it was known."""
    way = way_of(record)
    if way is None:
        return None
    weights = record.model.weights or {}
    return Identity(
        record.model.name,
        canonical(record.model.options),
        record.model.code,
        # What a plugin loaded by itself is known only once it has: its digest names no file.
        weights.get("sha256") if weights.get("origin") != "plugin" else None,
        record.seed,
        record.protocol.fingerprint,
        record.data.fingerprint,
        way,
    )


def differences(recorded: Identity, asked: Identity) -> list[str]:
    """In what a recorded trial is not the one asked for, in words; empty where it is."""
    said = [_said(field.name, recorded, asked) for field in fields(Identity) if field.name != "way"]
    if recorded.way != asked.way:
        said.append(f"it ran otherwise ({recorded.way} / {asked.way})")
    return [one for one in said if one]


def _said(name: str, recorded: Identity, asked: Identity) -> str:
    if getattr(recorded, name) == getattr(asked, name):
        return ""
    return {"code": "the plugin's code has changed", "data": "other pictures", "weights": "other weights"}.get(
        name, f"another {name}"
    )


@dataclass(frozen=True)
class Terms:
    """What trials must share to lie in one folder."""

    protocol: str
    data: str
    way: Way | None

    @property
    def digest(self) -> str:
        """Short, for the names of folders and files."""
        return _digest(self)[:8]

    @property
    def compared(self) -> Terms:
        """What trials must share to be compared: on a machine with other threads, or more at once, they may, but for
        their times."""
        return self if self.way is None else replace(self, way=replace(self.way, threads=None, sharing=1))

    def agree(self, other: Terms) -> bool:
        """Whether they are the same; a way that is not known agrees with any."""
        same = (self.protocol, self.data) == (other.protocol, other.data)
        return same and (self.way is None or other.way is None or self.way == other.way)


# Fields of a way that folders and checkpoints were named without, and what they are where nothing is chosen.
LATER = {"deterministic": False, "compile_mode": "default", "without_graphs": False, "sharing": 1}


def _digest(one: Identity | Terms) -> str:
    """Of all its fields; what a way has got since (LATER) counts where it is chosen, so that names stay as they are."""
    said = asdict(one)
    if one.way is not None:
        said["way"] = {key: value for key, value in said["way"].items() if key not in LATER or value != LATER[key]}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def terms_of(record: Record) -> Terms:
    """The terms of a record."""
    return Terms(record.protocol.fingerprint, record.data.fingerprint, way_of(record))

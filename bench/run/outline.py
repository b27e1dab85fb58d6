"""A record as far as it is known without training: what was asked for. Free of torch."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.data.splits import subsets
from bench.plugins import Model
from bench.protocol import Protocol
from bench.records import record as records
from bench.records.record import ExtensionRecord, ModelRecord, Record
from bench.request import TrialSpec


def known_of(model: Model, protocol: Protocol) -> ModelRecord:
    """What is known of the model before it is built."""
    return ModelRecord(
        name=model.name,
        base=model.base,
        extensions=extension_records(model),
        plugin=model.plugin.name,
        family=model.spec.family,
        source=model.spec.source,
        options=model.options_under(dict(protocol.model.options)),
        code=model.code,
    )


def extension_records(model: Model) -> list[ExtensionRecord]:
    """What is known of its extensions before it is built."""
    return [
        ExtensionRecord(
            name=one.spec.name,
            plugin=one.plugin.name,
            source=one.spec.source,
            options=one.spec.options() | one.options,
            code=one.plugin.code,
        )
        for one in model.extensions
    ]


def outline(spec: TrialSpec, known: ModelRecord) -> Record:
    """The record as far as it is known before the trial runs; also what is written where it dies."""
    counts = spec.counts or {part: len(subset.indices) for part, subset in subsets(spec.stored, spec.protocol).items()}
    return Record(
        status="error",
        seed=spec.seed,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        model=known.model_copy(),
        protocol=records.ProtocolRecord(
            name=spec.protocol.name,
            fingerprint=spec.protocol.fingerprint,
            settings=spec.protocol.settings(),
            description=spec.protocol.description,
        ),
        data=records.DataRecord(
            name=spec.stored.name, fingerprint=spec.stored.fingerprint, classes=list(spec.stored.classes), **counts
        ),
    )

"""What a record says of a model once it is built: its size, and which weights it starts from."""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.models.extensions import resolved_options
from bench.models.parts import parameter_counts, training_only_parameters
from bench.models.weights.load import state_digest
from bench.records import record as records
from bench.request import TrialSpec
from bench.run.prepare import Prepared


def describe_model(record: records.ModelRecord, spec: TrialSpec, prepared: Prepared) -> None:
    """Enter what is known once the model is built, before it trains."""
    model, preparation = prepared.model, prepared.batches["train"].preparation
    record.params, record.trainable_params = parameter_counts(model)
    record.training_only_params = training_only_parameters(model)
    record.resolved_options = resolved_options(model.backbone)
    for extension, resolved in zip(record.extensions, model.extension_options, strict=True):
        extension.resolved_options = resolved
    record.input_size = [3, preparation.image_size, preparation.image_size]
    record.weights = weights_record(spec, model.backbone) | {"mean": preparation.mean, "std": preparation.std}


def weights_record(spec: TrialSpec, backbone: nn.Module) -> dict[str, Any]:
    """Which weights the backbone starts from: the file's name and SHA-256, or those of what the plugin loaded."""
    source = spec.protocol.model.weights
    if source == "scratch":
        return {"source": source}
    if spec.weights is None:
        return {"source": source, "origin": "plugin", "file": None, "sha256": state_digest(backbone)}
    return {
        "source": source,
        "origin": spec.weights.origin,
        "file": spec.weights.file.name,
        "sha256": spec.weights.sha256,
    }

"""What a trial's loop works on: pictures and the whole model, or a frozen prefix's features and the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from bench.data.batches import Batches
from bench.models.classifier import Classifier
from bench.models.compiling import compiled
from bench.protocol import Protocol
from bench.request import RunOptions
from bench.train.prefix.cut import CannotSplitError
from bench.train.prefix.features import Forward, Source, extract, fixed_views
from bench.train.prefix.halves import Splitter, split_model


@dataclass(frozen=True)
class Inputs:
    """Batches to train and to validate on, and the forward pass that takes them.

    `frozen_prefix` is the record's word on it: that it was used, and what it cost; or why not.
    """

    train: Source
    val: Source
    forward: Forward
    frozen_prefix: dict[str, Any]

    @property
    def seconds(self) -> float:
        """What it took to make them."""
        return float(self.frozen_prefix.get("seconds", 0.0))


def make_inputs(
    model: Classifier,
    train: Batches,
    val: Batches,
    protocol: Protocol,
    precision: str,
    options: RunOptions,
    by_hand: Splitter | None = None,
    seed: int = 0,
) -> Inputs:
    """Compute the features of the model's frozen prefix, if it has one and the protocol and options allow it.

    Where it does not, training takes the ordinary way, and `frozen_prefix` says why.
    """
    try:
        found = _on_features(model, train, val, protocol, precision, options, by_hand, seed)
    except CannotSplitError as why:
        found = Inputs(train, val, model, {"used": False, "why": str(why)})
    if not options.compile:
        return found
    return Inputs(found.train, found.val, compiled(found.forward, options.compile_mode), found.frozen_prefix)


def _on_features(
    model: Classifier,
    train: Batches,
    val: Batches,
    protocol: Protocol,
    precision: str,
    options: RunOptions,
    by_hand: Splitter | None,
    seed: int,
) -> Inputs:
    if not options.frozen_prefix:
        raise CannotSplitError("switched off by --no-frozen-prefix")
    views = fixed_views(train, protocol.augmentation, seed)
    if len(views) > protocol.train.epochs * len(protocol.tries):
        raise CannotSplitError("so few epochs do not repay it")
    split = split_model(model, train.image_size, by_hand)
    model.eval()
    half, memory = protocol.train.half_features, options.feature_memory
    trained = extract(split.prefix, train, views, precision, half, memory)
    left = None if memory is None else memory - (trained.bytes if trained.kept_in == "memory" else 0)
    validated = extract(split.prefix, val, [val.in_order()], precision, half, left)

    def forward(features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return split.rest(*features)

    said = {
        "used": True,
        "found_by": split.found_by,
        "at": split.at,
        "views": len(views),
        "seconds": trained.seconds + validated.seconds,
        "bytes": trained.bytes + validated.bytes,
        "kept_in": trained.kept_in,
        "dtypes": trained.dtypes,
    }
    return Inputs(trained.batches, validated.batches, forward, said)

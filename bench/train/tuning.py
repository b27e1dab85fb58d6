"""Equal tuning: each model gets the same tries, of the protocol's learning rates and weight decays.

Validation chooses; the test pictures are not looked at. What all tries cost is in the record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.models.classifier import Classifier
from bench.protocol import Protocol
from bench.train.loop import DivergedError, Progress
from bench.train.state import copied, trained_state


@dataclass(frozen=True)
class Try:
    """One training: its settings, best validation top-1 (None: it diverged), epochs and seconds."""

    learning_rate: float
    weight_decay: float
    val_top1: float | None
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """The progress of the try that validation chose, its protocol, and all tries."""

    progress: Progress
    protocol: Protocol
    tries: list[Try]

    def record(self) -> dict[str, Any]:
        """The record's `training.tuning`; `chosen` is the learning rate."""
        return {
            "chosen": self.protocol.optimizer.learning_rate,
            "chosen_weight_decay": self.protocol.optimizer.weight_decay,
            "seconds": sum(one.seconds for one in self.tries),
            "tries": [vars(one) for one in self.tries],
        }


def tune(model: Classifier, protocol: Protocol, train: Callable[[int, Protocol], Progress]) -> Tuned:
    """Train the model once for each of the protocol's tries, from the same start; keep the best.

    `train(number, protocol)` trains it and leaves it with its best epoch's weights. The model is left with
    those of the best try, the first of several equal ones in validation top-1 and loss. Raises DivergedError where
    every try diverged.
    """
    start = copied(trained_state(model))
    state, tries = start, []
    best: tuple[Progress, Protocol] | None = None
    for number, tried in enumerate(protocol.tries):
        own = tried.optimizer.learning_rate, tried.optimizer.weight_decay
        model.load_state_dict(start, strict=False)
        try:
            progress = train(number, tried)
        except DivergedError as error:
            tries.append(Try(*own, None, error.epochs, error.seconds))
            diverged = error
            continue
        tries.append(Try(*own, progress.best_val_top1, progress.epochs, sum(progress.seconds)))
        if best is None or progress.best > best[0].best:
            best, state = (progress, tried), copied(trained_state(model))
    if best is None:
        raise diverged
    model.load_state_dict(state, strict=False)
    return Tuned(*best, tries)

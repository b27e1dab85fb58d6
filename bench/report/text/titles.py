"""What a comparison is called where it is spoken of."""

from __future__ import annotations

from bench.protocol import CHANGED
from bench.records.comparison import Comparison


def title(comparison: Comparison) -> str:
    """Its name, and what the command line changed of its protocol, where anything was: `quick with train.epochs=1`."""
    protocol = comparison.first.protocol
    own, _, changed = protocol.description.partition(CHANGED.format(protocol.name, ""))
    return CHANGED.format(comparison.name, changed) if changed and not own else comparison.name

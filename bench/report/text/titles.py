"""What a comparison is called where it is spoken of."""

from __future__ import annotations

from bench.protocol import changes
from bench.records.comparison import Comparison


def title(comparison: Comparison) -> str:
    """Its name, and what the command line changed of its protocol, where anything was: `quick with train.epochs=1`."""
    protocol = comparison.first.protocol
    changed = changes(protocol.name, protocol.description)
    return f"{comparison.name} with {changed}" if changed else comparison.name

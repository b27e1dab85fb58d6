"""Lets torchvision, and so timm, be imported where torchvision's compiled operators do not load.

The package index carries torchvision built for CUDA only. Beside a CPU build of torch its operator
library cannot be loaded, and torchvision (0.28) then stops at import because it describes the shapes
and gradients of operators that are not there. bench uses none of them (non-maximum suppression,
region pooling); all it needs is that the import passes. Where the operators load, nothing changes.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

DESCRIBE_OPERATORS = {"torchvision._meta_registrations", "torchvision._autograd_registrations"}


class _WithoutOperators(MetaPathFinder, Loader):
    """Finds an empty module in place of those that describe absent operators."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in DESCRIBE_OPERATORS:
            return None
        if importlib.import_module("torchvision.extension")._has_ops():
            return None
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty."""


def tolerate_missing_operators() -> None:
    """Install the finder, once; importing torchvision then works with and without its operators."""
    if not any(isinstance(finder, _WithoutOperators) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WithoutOperators())

"""Lets torchvision, and so timm, be imported where torchvision's compiled operators do not load.

The package index carries torchvision built for CUDA only. Beside a CPU build of torch its operator
library cannot be loaded, and torchvision then stops at import because it describes the shapes and
gradients of operators that are not there. bench uses none of them (non-maximum suppression, region
pooling); all it needs is that the import passes. Where the operators load, nothing changes.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

DESCRIBE_OPERATORS = ("torchvision._meta_registrations", "torchvision._autograd_registrations")


def import_torchvision() -> None:
    """Import torchvision, without the modules that describe its operators where the operators are absent."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:  # "operator torchvision::nms does not exist"
        if importlib.import_module("torchvision.extension")._has_ops():
            raise
        sys.modules.update({name: ModuleType(name) for name in DESCRIBE_OPERATORS})
        importlib.import_module("torchvision")

"""`import timm` passes on any machine in the tests of this folder: see bench/models/torchvision_operators.py."""

import bench.models  # noqa: F401

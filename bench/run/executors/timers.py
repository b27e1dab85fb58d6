"""Imported by the server: the measurements that time, whose module of torch takes 45 ms, unless torch has CUDA.

Where a toolkit of CUDA lies, that module asks CUDA for its devices as it is imported, and what is forked from a process
that has asked cannot use them. With CUDA each trial imports it by itself.
"""

import importlib

import torch

if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
    for name in ("latency", "throughput", "step", "energy"):
        importlib.import_module(f"bench.measure.{name}")

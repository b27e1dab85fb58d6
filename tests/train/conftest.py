"""`import timm` passes on any machine in the tests of this folder: see bench/models/torchvision_operators.py."""

import math
from collections.abc import Iterator

import pytest
import torch

import bench.models  # noqa: F401


@pytest.fixture
def one_thread() -> Iterator[None]:
    """More of them only cost time where tensors are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _every_epoch() -> Iterator[None]:
    """There is a checkpoint after each epoch, however long a busy machine takes to write one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.train.checkpoint.CHEAP", math.inf)
        yield

"""Bytes that a training step will need at its peak, counted before anything is allocated.

The step runs on tensors that have shapes, strides and types and no values (torch's FakeTensorMode); what it would
allocate is counted as it comes and goes. As `training_memory` of a step that ran: parameters, buffers, the optimizer's
state and the inputs, and on top of these the most that is alive at once. Not counted, here as there: what libraries
take behind torch's allocator.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

Step = Callable[[Tensor, Tensor], object]


def training_peak(
    model: nn.Module,
    batch: tuple[int, int, int],
    make_step: Callable[[], tuple[Step, torch.optim.Optimizer]],
) -> int:
    """Bytes of a step of the model, which has no values yet (device meta), on so many pictures (count, side, classes).

    `make_step` is called when the model is ready for it: gives one whole step, which sets the gradients to None at its
    start, and the optimizer that it calls. The model is of no use afterwards. Raises what torch raises for a model that
    looks at values.
    """
    count, side, classes = batch
    # With the environment numbers that are read (a step's, by some optimizers) are unknowns; else that is an error.
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()):
        _without_values(model)
        step, optimizer = make_step()
        images = torch.empty(count, 3, side, side).contiguous(memory_format=torch.channels_last)
        labels = torch.empty(count, dtype=torch.int64).clamp(0, classes - 1)
        step(images, labels)  # the optimizer's state comes into being
        for parameter in model.parameters():
            parameter.grad = None
        kept = (value for state in optimizer.state.values() for value in state.values())
        resident = _Living([*model.parameters(), *model.buffers(), *kept, images, labels])
        with resident:
            step(images, labels)
        return resident.peak


class _Living(TorchDispatchMode):
    """Counts the bytes of storages that are alive: those of the tensors given, and of what is made within it."""

    def __init__(self, tensors: Iterable[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = WeakIdKeyDictionary()
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                self._hold(tensor)

    def _hold(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage not in self._known:
            size = storage.nbytes()
            self._known[storage] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._let_go, size)
        return tensor

    def _let_go(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        return tree_map_only(Tensor, self._hold, function(*arguments, **(keywords or {})))


def _without_values(model: nn.Module) -> None:
    """Put tensors that have none, and lie in main memory as a trial's do, in the places of the model's."""
    made: dict[int, Tensor] = {}

    def like(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            order = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
            empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").contiguous(memory_format=order)
            is_parameter = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_parameter else empty
        return made[id(tensor)]

    for module in model.modules():
        places: list[dict[str, Any]] = [module._parameters, module._buffers, vars(module)]
        for place in places:
            for name, tensor in list(place.items()):
                if isinstance(tensor, Tensor):
                    place[name] = like(tensor)

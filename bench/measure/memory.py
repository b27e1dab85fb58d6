"""Bytes of a training step and of inference, meaning the same on a CPU and on an accelerator.

The peak is what the model needs: its parameters and buffers, its optimizer's state, the inputs named
by the caller, and on top of these the most that was allocated at once *during* the step. What else
lies in memory (a data set kept on the device, another model) is left out on every device alike. On an
accelerator that most comes from its allocator, on the CPU from the allocations torch.profiler sees.

What made up the peak is read from the profiler's allocations on both: see `training_memory`.

Not seen on the CPU: memory that libraries take behind torch's allocator (oneDNN's scratchpads and
reordered weights); nor, on a GPU, what its context and libraries take for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from bench.device import Device, out_of_memory
from bench.hookspecs import Subject
from bench.measure.allocations import Block, Recording, record_allocations

MODEL_CALLED = "bench: model called"
INFERENCE_BATCHES = (1, 8, 32)


def measure(subject: Subject) -> dict[str, Any]:
    """Bytes of a training step on a batch, and of inference by batch size; trains two steps."""
    training, device = subject.training, subject.device
    images, labels = training.batch()
    training.step(images, labels)  # the optimizer's state comes into being
    step = training_memory(
        lambda: training.step(images, labels), training.model, training.optimizer, device, (images, labels)
    )
    training.optimizer.zero_grad(set_to_none=True)
    batches = subject.batches or INFERENCE_BATCHES
    inference = inference_memory(subject.inference, subject.inference_bytes, batches, device)
    return {"memory": {**step, "train_batch": len(labels), "inference_peak": inference}}


def training_memory(
    step: Callable[[], object],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: Device,
    inputs: Sequence[Tensor] = (),
) -> dict[str, Any]:
    """Bytes of one training step, at its peak (`train_peak`, `train_breakdown`) and by kind.

    `step` does one whole step: it fetches or makes its batch, sets the gradients to None at its *start* (not
    at its end), runs forward, backward and `optimizer.step()`. It must have run once before, so that the
    optimizer's state exists; this function runs it once more, a few seconds slower than usual. A batch
    that exists before the step and belongs to it is named in `inputs`.

    `train_breakdown` says what was there at the moment of the peak, and adds up to it: `parameters`
    (buffers included), `gradients` (of parameters), `optimizer`, `inputs` (of the model), `activations`
    (made by the forward pass), `other` (gradients of activations, workspaces, the optimizer's temporaries).
    Beside it, `gradients` is all of them and `activations` all that the forward pass keeps for the backward
    pass (None where the profiler does not report this kind of device's allocations); of both, only some may
    exist at the moment of the peak.

    Raises ValueError where `step` leaves no gradient behind.
    """
    resident = {
        "parameters": parameter_bytes(model),
        "optimizer": optimizer_bytes(optimizer),
        "inputs": tensor_bytes(inputs),
    }
    for parameter in model.parameters():
        parameter.grad = None
    model_inputs: set[int] = set()

    def note_inputs(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        with torch.profiler.record_function(MODEL_CALLED):
            model_inputs.update(_address(a) for a in arguments if isinstance(a, Tensor))

    hook = model.register_forward_pre_hook(note_inputs)
    try:
        before = device.allocated_memory() or 0
        device.reset_peak_memory()
        recording = record_allocations(step, device, marker=MODEL_CALLED)
        allocator_peak = device.peak_memory()
    finally:
        hook.remove()
    gradients = {_address(p.grad): p.grad for p in model.parameters() if p.grad is not None}
    if not gradients:
        raise ValueError("the training step left no gradients: it must set them to None at its start, not at its end")

    def part(block: Block) -> str:
        return _part(block, recording, gradients, model_inputs)

    kept = [block for block in recording.alive_at(recording.backward_start) if part(block) == "activations"]
    seen, alive = recording.peak()
    grew = seen if allocator_peak is None else allocator_peak - before
    parts = {"gradients": 0, "activations": 0, "other": 0, **resident}
    for block in alive:
        parts[part(block)] += block.size
    # What the allocator counted and the profiler did not see is not known to be any of the rest.
    parts["other"] += grew - seen
    return {
        "parameters": resident["parameters"],
        "gradients": tensor_bytes(gradients.values()),
        "optimizer": resident["optimizer"],
        "activations": sum(block.size for block in kept) if recording.blocks else None,
        "train_peak": sum(resident.values()) + grew,
        "train_breakdown": parts,
    }


def _part(block: Block, recording: Recording, gradients: Container[int], model_inputs: Container[int]) -> str:
    """The part of the breakdown to which a block belongs.

    Addresses are used again, so an address counts only together with its time: a gradient is still
    there at the end of the step, an input is there when the model is called.
    """
    if block.address in gradients and block.end is None:
        return "gradients"
    if block.address in model_inputs and any(block.alive_at(time) for time in recording.marks):
        return "inputs"
    forward = recording.backward_start is None or block.start < recording.backward_start
    return "activations" if forward else "other"


def inference_memory(
    with_batch: Callable[[int], Callable[[], object]], resident: int, batches: Iterable[int], device: Device
) -> dict[int, int | None]:
    """Peak bytes of inference by batch size: what is `resident` (parameters and buffers), images, and what a forward
    pass allocates.

    `with_batch(n)` gives a forward pass of n images, which it makes. A batch for which there is not enough memory is
    None, and so are all larger ones.
    """
    peaks: dict[int, int | None] = {}
    growth: int | None = 0
    previous = 1
    for batch in sorted(batches):
        if growth is not None and _fits(growth * batch // previous, device):
            growth = inference_growth(with_batch, batch, device)
        else:
            growth = None
        peaks[batch] = None if growth is None else resident + growth
        previous = batch
    return peaks


def inference_growth(with_batch: Callable[[int], Callable[[], object]], batch: int, device: Device) -> int | None:
    """Bytes of the images and of all else a forward pass allocates at once; None where memory runs out."""
    device.release_memory()
    try:
        if not device.is_accelerator:
            return record_allocations(lambda: with_batch(batch)(), device).peak()[0]
        with_batch(batch)()  # Once before: libraries choose their algorithms, and their workspaces, in the first run.
        before = device.allocated_memory() or 0
        device.reset_peak_memory()
        with_batch(batch)()
        return (device.peak_memory() or 0) - before
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            return None
        raise


def room_for(with_batch: Callable[[int], Callable[[], object]], least: int, device: Device) -> Callable[[int], bool]:
    """Says of a batch size whether there is room for it, judged by what inference of `least` images allocates.

    Needed where the system kills a process that takes too much; an accelerator says no by itself.
    """
    growth = None if device.is_accelerator else inference_growth(with_batch, least, device)
    return lambda batch: growth is None or _fits(growth * batch // least, device)


def _fits(size: int, device: Device) -> bool:
    """Whether `size` bytes may be tried. An accelerator says no by itself; a CPU's system kills the process."""
    return device.is_accelerator or size < 0.8 * psutil.virtual_memory().available


def parameter_bytes(model: nn.Module) -> int:
    """Bytes of the parameters and buffers of `model`, shared ones once."""
    return tensor_bytes([*model.parameters(), *model.buffers()])


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of what `optimizer` keeps between steps (Adam: two moments and a step count a parameter)."""
    kept = (value for state in optimizer.state.values() for value in state.values())
    return tensor_bytes(value for value in kept if isinstance(value, Tensor))


def tensor_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind `tensors`, each storage once."""
    return sum({_address(t): t.untyped_storage().nbytes() for t in tensors}.values())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()

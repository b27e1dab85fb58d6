"""What is measured of a model at work: inference made ready for timing, and the phases of a training step.

A step is any callable that fetches its batch, calls the model, runs the backward pass and steps the
optimizer, in this order. It starts in `data`; `forward` begins when the model is called, `backward`
when the model returns (so the loss belongs to it), `optimizer` when the optimizer steps. What follows
the optimizer belongs to it, too. A batch that exists before the step leaves `data` all but empty.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.device import PRECISIONS, Device, out_of_memory
from bench.measure.memory import tensor_bytes
from bench.models.classifier import Head
from bench.models.compiling import compiled
from bench.models.parts import inference_tensors

PHASES = ("data", "forward", "backward", "optimizer")


@dataclass(frozen=True)
class InferenceOptions:
    """How inference is run; recorded with every time. `precision` is fp32, bf16 or fp16."""

    precision: str = "fp32"
    channels_last: bool = True
    compile: bool = False
    compile_mode: str = "default"


class Inference:
    """A model that infers as `options` say; the model it was made from is not changed.

    Other precisions than fp32 store the weights in it, as deployments do, but for the head's, which computes in
    float32 as in training. Where an operator of the model
    cannot compute so, autocast is used instead, and `casting` says "autocast" in place of "weights".
    """

    def __init__(self, model: nn.Module, image_size: int, device: Device, options: InferenceOptions) -> None:
        self.options = options
        self.image_size = image_size
        self.device = device
        self.casting: str | None = None
        self._dtype = PRECISIONS[options.precision]
        self._format = torch.channels_last if options.channels_last else torch.contiguous_format
        self._compute: Callable[[Tensor], Tensor]
        original = copy.deepcopy(model).eval().requires_grad_(False)
        original.to(device.torch_device, memory_format=self._format)  # type: ignore[call-overload]
        self._model = original
        if self._dtype is not torch.float32:
            self._model, self.casting = copy.deepcopy(original).to(self._dtype), "weights"
            for module in self._model.modules():
                if isinstance(module, Head):
                    module.float()
            self._compute = self._model
            try:
                self.with_batch(1)()
            except (RuntimeError, NotImplementedError) as error:
                if out_of_memory(error):
                    raise
                self._model, self.casting, self._dtype = original, "autocast", torch.float32
        self._compute = compiled(self._model, options.compile_mode) if options.compile else self._model

    @property
    def parameter_bytes(self) -> int:
        """Bytes of its parameters and buffers, without those that serve training alone."""
        return tensor_bytes(inference_tensors(self._model))

    def with_batch(self, batch: int) -> Callable[[], Tensor]:
        """A forward pass of `batch` images (random, made once), and nothing else."""
        images = torch.randn(batch, 3, self.image_size, self.image_size, device=self.device.torch_device)
        images = images.to(self._dtype, memory_format=self._format)
        autocast = self.options.precision if self.casting == "autocast" else "fp32"

        def run() -> Tensor:
            with torch.inference_mode(), self.device.autocast(autocast):
                output: Tensor = self._compute(images)
                return output

        return run

    def graph(self, batch: int) -> Callable[[], object]:
        """The same pass, all of its launches replayed as one, where the device has graphs.

        Raises what the device says where the model cannot be one: it waits for the device, or computes elsewhere.
        """
        run = self.with_batch(batch)
        return self.device.record(run, warm_up=3)

    def describe(self) -> dict[str, Any]:
        """The options as recorded, with how the precision came about."""
        return {**asdict(self.options), "casting": self.casting}


@contextmanager
def phases_told(model: nn.Module, optimizer: torch.optim.Optimizer, begins: Callable[[str], None]) -> Iterator[None]:
    """Within this context, `begins` is called with the name of each phase after `data` when it begins."""

    def on_call(*_: Any) -> None:
        begins("forward")

    def on_return(*_: Any) -> None:
        begins("backward")

    def on_optimizer(*_: Any) -> None:
        begins("optimizer")

    handles = [
        model.register_forward_pre_hook(on_call),
        model.register_forward_hook(on_return),
        optimizer.register_step_pre_hook(on_optimizer),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""The one door to the hardware: a CPU, or whatever accelerator `torch.accelerator` finds.

Nothing outside this file asks which kind of device it runs on. Tests put a stand-in in the place of
`torch.accelerator` (`Device(kind, accelerator=...)`), so that the order of calls that matters on a
GPU (reset, run, synchronise, read) is tested where there is none.
"""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch

from bench.errors import RequestError

Module = TypeVar("Module", bound=torch.nn.Module)

# How errors say so that are no OutOfMemoryError: the CPU's allocator, pinned memory, cuBLAS, cuDNN.
NO_MEMORY = ("allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Device:
    """One place to compute on.

    `kind` is torch's word for it ("cpu", "cuda", "mps", "xpu"); `torch_device` is what tensors move to.
    """

    def __init__(self, kind: str, accelerator: Any = None) -> None:
        self.kind = kind
        self.torch_device = torch.device(kind)
        # None on the CPU, where work is synchronous and no allocator keeps a peak.
        self._accelerator = None if kind == "cpu" else (accelerator or torch.accelerator)
        self._kept = 0  # bytes on the accelerator by `keep`

    def __repr__(self) -> str:
        return f"Device({self.kind!r})"

    @property
    def is_accelerator(self) -> bool:
        """True where kernels run asynchronously and an allocator counts their memory."""
        return self._accelerator is not None

    @property
    def name(self) -> str:
        """The hardware's own name ("NVIDIA H200"); where torch knows none, the kind."""
        if self._accelerator is None:
            return "cpu"
        describe = getattr(torch.get_device_module(self.kind), "get_device_name", None)
        return str(describe()) if describe is not None else self.kind

    @property
    def nvml_uuid(self) -> str | None:
        """What NVML calls this GPU, whatever CUDA_VISIBLE_DEVICES renumbers; None where it is not NVIDIA's."""
        if self.kind != "cuda" or torch.version.cuda is None:
            return None
        return f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"

    def synchronize(self) -> None:
        """Wait until everything that was started has finished; a clock may be read after it."""
        if self._accelerator is not None:
            self._accelerator.synchronize()

    def reset_peak_memory(self) -> None:
        """Start a new peak: from here on `peak_memory` counts."""
        if self._accelerator is not None:
            self._accelerator.synchronize()
            self._accelerator.reset_peak_memory_stats()

    def peak_memory(self) -> int | None:
        """Most bytes allocated at once since `reset_peak_memory`; None where no allocator counts them."""
        if self._accelerator is None:
            return None
        self._accelerator.synchronize()
        return int(self._accelerator.max_memory_allocated())

    def allocated_memory(self) -> int | None:
        """Bytes allocated now; None where no allocator counts them."""
        if self._accelerator is None:
            return None
        self._accelerator.synchronize()
        return int(self._accelerator.memory_allocated())

    def release_memory(self) -> None:
        """Give cached blocks back, so that one model's leftovers, or one phase's, do not count as another's."""
        if self._accelerator is not None:
            self._accelerator.empty_cache()
        elif hasattr(c_library := ctypes.CDLL(None), "malloc_trim"):  # glibc keeps what was freed, as a GPU's allocator
            c_library.malloc_trim(0)

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """Mixed precision for the forward pass: `precision` is fp32 (none), bf16 or fp16."""
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(self.kind, dtype=PRECISIONS[precision])

    def gradient_scaler(self, precision: str) -> torch.amp.GradScaler:
        """Loss scaling, which fp16 needs against underflow; a no-op for the others."""
        return torch.amp.GradScaler(self.kind, enabled=precision == "fp16" and self.is_accelerator)

    def move(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` on this device; from pinned memory, and without waiting, where that is possible."""
        if self._accelerator is None or tensor.device.type == self.kind:
            return tensor
        return tensor.pin_memory().to(self.torch_device, non_blocking=True)

    def place(self, model: Module) -> Module:
        """`model` on this device, its convolutions in channels-last order, which is faster on CPUs and tensor cores."""
        return model.to(self.torch_device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` where batches are best gathered from: on the accelerator where it has room, until `let_go`."""
        if not self.has_room(tensor.nbytes):
            return tensor
        self._kept += tensor.nbytes
        return self.move(tensor)

    def let_go(self, tensor: torch.Tensor) -> torch.Tensor:
        """What was kept, in main memory: its room on the accelerator is for others."""
        if self._accelerator is not None and tensor.device.type == self.kind:
            self._kept -= tensor.nbytes
        return tensor.cpu()

    def has_room(self, size: int) -> bool:
        """Whether the accelerator has half its free memory left with so many bytes more, what is kept there counting
        as free; False where there is none."""
        if self._accelerator is None:
            return False
        free, _ = self._accelerator.get_memory_info()
        return bool(size + self._kept < (free + self._kept) / 2)

    def tune_kernels(self) -> None:
        """Let cuDNN try which of its kernels is fastest for each shape, among those that always give the same."""
        if self.kind == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.deterministic = True


def choose_device(name: str) -> Device:
    """The device of that name, "auto" being the accelerator where there is one, else the CPU.

    Raises RequestError where this machine has no such device.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    present = found.type if found is not None else "cpu"
    if name == "auto":
        return Device(present)
    if name not in {"cpu", present}:
        choices = "cpu" if present == "cpu" else f"cpu, {present}"
        raise RequestError(f"--device {name}: torch finds none on this machine; choose among auto, {choices}")
    return Device(name)


def native_bf16(device: Device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; elsewhere it is emulated, and slow."""
    if device.is_accelerator:
        return device.kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out; the CPU's allocator has no exception of its own."""
    told = any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or told

"""The one door to the hardware: a CPU, or whatever accelerator `torch.accelerator` finds.

Nothing outside this file asks which kind of device it runs on. Tests put a stand-in in the place of
`torch.accelerator` (`Device(kind, accelerator=...)`), so that the order of calls that matters on a
GPU (reset, run, synchronise, read) is tested where there is none.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import psutil
import torch

from bench.errors import RequestError
from bench.kernels import for_sixteen_bits

Module = TypeVar("Module", bound=torch.nn.Module)
Given = TypeVar("Given")

# How errors say so that are no OutOfMemoryError: the CPU's allocator, pinned memory, cuBLAS, cuDNN.
NO_MEMORY = ("allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
# fp32 is IEEE's float32 for convolutions and matrix products alike; tf32 gives both NVIDIA's shorter mantissa.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The same result every time, for a matrix product's scratch memory too; cuBLAS reads it when CUDA starts.
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


class Device:
    """One place to compute on, by torch's name for it: "cpu", "cuda", "cuda:1", "mps", "xpu".

    `kind` is the name without its number; `torch_device` is what tensors move to.
    """

    def __init__(self, name: str, accelerator: Any = None) -> None:
        self.torch_device = torch.device(name)
        self.kind = kind = self.torch_device.type
        # None on the CPU, where work is synchronous and no allocator keeps a peak.
        self._accelerator = None if kind == "cpu" else (accelerator or torch.accelerator)
        self._kept = 0  # bytes on the accelerator by `keep`

    def __repr__(self) -> str:
        return f"Device({str(self.torch_device)!r})"

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
        """Mixed precision for the forward pass: `precision` is fp32 or tf32 (none), bf16 or fp16."""
        if PRECISIONS[precision] is torch.float32:
            return nullcontext()
        return torch.autocast(self.kind, dtype=PRECISIONS[precision])

    def takes_other_kernels(self, precision: str) -> bool:
        """Whether training computes some operations by other kernels than torch would take: see bench.kernels."""
        return self._accelerator is None and PRECISIONS[precision] is not torch.float32

    @contextmanager
    def training(self, precision: str, *, convolutions: bool = True) -> Iterator[None]:
        """`autocast` for a forward pass that has gradients, with the kernels that are fastest then.

        `convolutions`: whether the model may have such that are computed by others.
        """
        others = for_sixteen_bits(convolutions=convolutions) if self.takes_other_kernels(precision) else nullcontext()
        with self.autocast(precision), others:
            yield

    def gradient_scaler(self, precision: str) -> torch.amp.GradScaler:
        """Loss scaling, which fp16 needs against underflow; a no-op for the others."""
        return torch.amp.GradScaler(self.kind, enabled=precision == "fp16" and self.is_accelerator)

    def move(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` on this device; from pinned memory, and without waiting, where that is possible."""
        if self._accelerator is None or tensor.device.type == self.torch_device.type:
            return tensor
        return tensor.pin_memory().to(self.torch_device, non_blocking=True)

    def ready(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` in memory from which `move` need not wait, whatever thread this is asked in."""
        return tensor if self._accelerator is None else tensor.pin_memory()

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
        if self._accelerator is not None and tensor.device.type == self.torch_device.type:
            self._kept -= tensor.nbytes
        return tensor.cpu()

    def has_room(self, size: int) -> bool:
        """Whether the accelerator has half its free memory left with so many bytes more, what is kept there counting
        as free; False where there is none."""
        if self._accelerator is None:
            return False
        free, _ = self._accelerator.get_memory_info()
        return bool(size + self._kept < (free + self._kept) / 2)

    @property
    def total_memory(self) -> int:
        """Bytes of memory that the device has: its own, or the machine's main memory."""
        if self._accelerator is None:
            return int(psutil.virtual_memory().total)
        return int(self._accelerator.get_memory_info()[1])

    @property
    def has_graphs(self) -> bool:
        """Whether launches can be recorded, and replayed as one."""
        return self.kind == "cuda"

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within it, work goes into a queue of its own: so it is to be begun where it will be recorded."""
        queue = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        queue.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(queue):
            yield
        torch.cuda.current_stream().wait_stream(queue)

    def record(self, run: Callable[[], Given], warm_up: int = 0) -> Callable[[], Given]:
        """The launches of `run` as one graph, recorded and not carried out; called, it replays them.

        Each replay reads and writes the same tensors, and gives the same that `run` gave. `run` is called `warm_up`
        times before; whoever asks for none has run it `aside`. Raises what torch does where it cannot be recorded.
        """
        with self.aside():
            for _ in range(warm_up):
                run()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            given = run()

        def replay(_reads: object = run) -> Given:  # what it reads must live as long as it does
            graph.replay()
            return given

        return replay

    def choose_kernels(self, precision: str, *, deterministic: bool) -> None:
        """How this process computes: in which float32, and by which kernels.

        By default cuDNN tries which of its kernels is fastest for each shape, and a repeat agrees to noise.
        `deterministic`: only kernels that always give the same; what has none raises RuntimeError, by name.
        """
        if self.kind == "cuda":
            # By their older names: where the newer are used, torch.compile fails as it reads these.
            short = precision == "tf32"
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = short
            torch.backends.cudnn.benchmark = not deterministic
        torch.use_deterministic_algorithms(deterministic)

    @property
    def multiplies_tf32(self) -> bool:
        """Whether its hardware knows the shorter float32: NVIDIA's since Ampere."""
        return self.kind == "cuda" and torch.version.cuda is not None and torch.cuda.get_device_capability() >= (8, 0)


def choose_device(name: str, accelerator: Any = None) -> Device:
    """The device of that name ("cuda:1" by its number), "auto" being the accelerator where there is one, else the CPU.

    Raises RequestError where this machine has no such device.
    """
    accelerator = accelerator or torch.accelerator
    found = accelerator.current_accelerator(check_available=True)
    present = found.type if found is not None else "cpu"
    if name == "auto":
        return Device(present, accelerator)
    _, colon, number = name.partition(":")
    count = accelerator.device_count() if found is not None else 0
    known = ["cpu"] if present == "cpu" else ["cpu", present, *(f"{present}:{one}" for one in range(count))]
    if name not in known:
        why = f" ({reason})" if name.startswith("cuda") and (reason := why_no_cuda()) else ""
        choices = ", ".join(known)
        raise RequestError(f"--device {name}: torch finds none on this machine{why}; choose among auto, {choices}")
    if colon:
        accelerator.set_device_index(int(number))
    return Device(name, accelerator)


def every_device(name: str, accelerator: Any = None) -> tuple[str, ...]:
    """The names of the devices that trials may each have one of: all accelerators for "auto", else the one named.

    Raises RequestError where this machine has no such device.
    """
    accelerator = accelerator or torch.accelerator
    chosen = choose_device(name, accelerator)
    if name != "auto" or not chosen.is_accelerator or (count := accelerator.device_count()) < 2:
        return (str(chosen.torch_device),)
    return tuple(f"{chosen.kind}:{number}" for number in range(count))


def memory_share(trials: int = 1) -> int:
    """Bytes of main memory that a trial may take for what need not be there: half of what is free, between so many."""
    return int(psutil.virtual_memory().available) // (2 * trials)


def why_no_cuda() -> str:
    """What CUDA says where it cannot start: no driver, one that is too old, a torch without it; else empty."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        return ""
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0].rstrip(".")


@contextmanager
def exact_float32() -> Iterator[None]:
    """Within it float32 is IEEE's, whatever the precision: for comparing what two ways of computing give."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def require_deterministic() -> None:
    """Has to be called before CUDA starts, where only kernels that always give the same are wanted."""
    os.environ.setdefault(*WORKSPACE)


def native_bf16(device: Device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; elsewhere it is emulated, and slow."""
    if device.is_accelerator:
        return device.kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out; the CPU's allocator has no exception of its own."""
    told = any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or told

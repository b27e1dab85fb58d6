"""What a callable allocates, and when: torch.profiler's allocation events, paired into blocks.

The profiler reports each allocation and release with its address. Blocks are paired by address and
not by adding up sizes: for a release of something older than the recording the profiler may report
a size left over from an earlier one, and a running sum would drift.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from bench.device import Device

BACKWARD_NODE = "autograd::engine::evaluate_function"


@dataclass(frozen=True)
class Block:
    """One allocation of `size` bytes. Times in nanoseconds; `end` is None where it outlived the recording."""

    address: int
    size: int
    start: int
    end: int | None

    def alive_at(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


@dataclass(frozen=True)
class Recording:
    """The blocks of one run, when its backward pass began (None: there was none), and its marks' times."""

    blocks: tuple[Block, ...]
    backward_start: int | None
    marks: tuple[int, ...]

    def peak(self) -> tuple[int, list[Block]]:
        """Most bytes alive at once, and the blocks that were alive then."""
        changes = [(block.start, block.size) for block in self.blocks]
        changes += [(block.end, -block.size) for block in self.blocks if block.end is not None]
        most = total = time_of_most = 0
        for time, size in sorted(changes):  # at the same nanosecond, releases first
            total += size
            if total > most:
                most, time_of_most = total, time
        return most, self.alive_at(time_of_most)

    def alive_at(self, time: int | None) -> list[Block]:
        """The blocks alive at `time`; none where there is no such time."""
        return [] if time is None else [block for block in self.blocks if block.alive_at(time)]


def quiet_kineto() -> None:
    """Keep torch.profiler's library from writing lines to standard error at each start and stop."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # above all its levels


def record_allocations(run: Callable[[], object], device: Device, marker: str = "") -> Recording:
    """Run `run` once under torch.profiler; return what it allocated on `device`.

    `marker` names the `record_function` ranges whose starts are wanted as marks. On a kind of device whose
    allocations the profiler does not report, the recording has no blocks.
    """
    quiet_kineto()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
        device.synchronize()
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    if results is None:
        raise RuntimeError("torch.profiler recorded nothing; is another profiler running in this process?")
    changes: list[tuple[int, int, int]] = []
    backward: list[int] = []
    marks: list[int] = []
    for event in _walk(results.experimental_event_tree()):
        if event.tag == _EventType.Allocation:
            fields = event.extra_fields
            if fields.device.type == device.kind:
                changes.append((event.start_time_ns, fields.ptr, fields.alloc_size))
        elif event.tag == _EventType.TorchOp:
            if event.name.startswith(BACKWARD_NODE):
                backward.append(event.start_time_ns)
            elif event.name == marker:
                marks.append(event.start_time_ns)
    return Recording(tuple(pair_blocks(changes)), min(backward, default=None), tuple(marks))


def pair_blocks(changes: Iterable[tuple[int, int, int]]) -> Iterator[Block]:
    """Blocks of (time, address, bytes; negative where released); releases without allocation are ignored."""
    open_blocks: dict[int, tuple[int, int]] = {}
    for time, address, size in sorted(changes, key=lambda change: change[0]):
        opened = open_blocks.pop(address, None)
        if opened is not None:
            # An allocation at the address of an open block: its release went unreported.
            yield Block(address, opened[1], opened[0], time)
        if size > 0:
            open_blocks[address] = (time, size)
    for address, (time, size) in open_blocks.items():
        yield Block(address, size, time, None)


def _walk(events: Iterable[Any]) -> Iterator[Any]:
    stack = list(events)
    while stack:
        event = stack.pop()
        yield event
        stack.extend(event.children)

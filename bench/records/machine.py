"""Which machine a record comes from: the one rule that says when two are the same, and in what they differ.

A machine is what decides over times and memory: the hardware, what drives it, the versions of what computes, and how
precisely it computed; and how many trials shared it. A table may hold records of several, and then says so; their times
are not held against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# In the order in which they are said. On a CPU its threads count; beside an accelerator, the processor that feeds it.
ALWAYS = ("device", "precision", "driver", "cuda", "torch", "timm")
TF32 = ("tf32.matmul", "tf32.convolution")
PASSING = {"load", "cpu_mhz", "clocks_mhz"}
SAID_PLAINLY = {"device", "cpu", "precision"}  # the others bear their names: torch 2.13.0

Environment = Mapping[str, Any] | None


def machine(environment: Environment) -> dict[str, Any]:
    """What decides over times in the record's environment, by name; what is not known is left out."""
    if not environment:
        return {}
    on_cpu = environment.get("device_kind") == "cpu"
    names = [ALWAYS[0], "threads" if on_cpu else "cpu", *ALWAYS[1:], *(() if on_cpu else TF32)]
    found = {name: _at(environment, name) for name in names}
    if (sharing := environment.get("sharing") or 1) > 1:
        found["sharing"] = sharing
    return {name: value for name, value in found.items() if value is not None and value is not False}


def lasting(environment: Mapping[str, Any]) -> dict[str, Any]:
    """All of an environment but what differs from trial to trial on one machine."""
    return {key: value for key, value in environment.items() if key not in PASSING}


def same_machine(one: Environment, other: Environment) -> bool:
    """Whether times of the two may be held against each other; an environment that is not known is no machine's."""
    return bool(one) and machine(one) == machine(other)


def differences(one: Environment, other: Environment) -> list[str]:
    """In what the two machines differ: `threads 2 / 4`; empty where they are the same."""
    if not one or not other:
        return [] if not one and not other else ["the machine of one is not known"]
    of_one, of_other = machine(one), machine(other)
    return [
        f"{name} {of_one.get(name, 'none')} / {of_other.get(name, 'none')}"
        for name in dict.fromkeys([*of_one, *of_other])
        if of_one.get(name) != of_other.get(name)
    ]


def described(environment: Environment) -> str:
    """The machine in one line: `AMD EPYC, 2 threads, bf16, torch 2.13.0+cpu, timm 1.0.31`."""
    parts = []
    for name, value in machine(environment).items():
        if name == "threads":
            parts.append(threads_said(value))
        elif name == "sharing":
            parts.append(f"{value} trials at once")
        elif value is True:
            parts.append(name)
        else:
            parts.append(str(value) if name in SAID_PLAINLY else f"{name} {value}")
    return ", ".join(parts) or "unknown machine"


def threads_said(count: int) -> str:
    """1 thread, 2 threads."""
    return "1 thread" if count == 1 else f"{count} threads"


def _at(environment: Mapping[str, Any], name: str) -> Any:
    place: Any = environment
    for key in name.split("."):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place

"""Multiply-accumulates (MACs), activations and training MACs of a model, per image.

MACs are counted by fvcore on a traced forward pass, with the handlers of `handlers` added, in evaluation
mode. FLOPs are 2 × MACs. Activations are the output elements of convolutions and matrix products,
attention's two included. What no handler knows is listed with its count, never silently zero. A second,
independent counter checks the convolutions and matrix products.

The model is copied without its weights and left as it was; see `weightless`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import nn

from bench.hookspecs import Subject
from bench.measure.macs import second_count
from bench.measure.macs.handlers import HANDLERS, PRODUCT_NAMES
from bench.measure.macs.weightless import RecordedConvolutions, copy_to, images, nothing_hidden
from bench.models.freezing import train_mode

AGREEMENT = 0.005  # relative; beyond it the two counters disagree
SECOND_COUNTER = "torch.utils.flop_counter"

Result = TypeVar("Result")


@dataclass(frozen=True)
class CrossCheck:
    """The convolutions and matrix products of one forward pass, as two counters see them."""

    counter: str  # the second counter's name
    macs: int  # by the second counter
    fvcore_macs: int  # by the first, the same operators
    difference: float  # of the second from the first, relative to the first
    agrees: bool  # within 0.5 %


@dataclass(frozen=True)
class MacCount:
    """What one image's forward pass takes, in evaluation mode."""

    macs: int
    flops: int  # 2 × macs
    activations: int  # output elements of convolutions and matrix products
    by_operator: dict[str, int]  # MACs; costliest first
    by_module: dict[str, int]  # MACs by module path, children included; "" is the whole; modules without any left out
    uncounted_operators: dict[str, int]  # operators that no handler knows, and how often each was called
    cross_check: CrossCheck


def measure(subject: Subject) -> dict[str, Any]:
    """MACs, FLOPs and activations of one image, and the MACs of its share of a training step."""
    counted = count_macs(subject.shape, subject.image_size)
    return {
        "macs": counted.macs,
        "flops": counted.flops,
        "training_macs": training_macs(subject.shape, subject.image_size),
        "activations": counted.activations,
        "macs_by_operator": counted.by_operator,
        "macs_by_module": counted.by_module,
        "uncounted_operators": counted.uncounted_operators,
        "macs_cross_check": asdict(counted.cross_check),
    }


def count_macs(model: nn.Module, image_size: int, *, channels: int = 3) -> MacCount:
    """MACs and activations of one image (1, channels, image_size, image_size) through `model`.

    Raises what the model raises where it does not take such an image.
    """

    def count(model: nn.Module) -> MacCount:
        model.eval().requires_grad_(False)
        inputs = images(model, 1, channels, image_size)
        first = _first_count(model, inputs)
        second = second_count.forward_macs(model, inputs)
        return _combine(first, second)

    return _on_a_copy(model, count)


def training_macs(model: nn.Module, image_size: int, *, channels: int = 3) -> int:
    """MACs per image of one training step: forward, and backward as far as trainable parameters need it.

    Where the model has a loss term of its own (`training_loss`), what it takes in training mode counts too.

    What trains counts in training mode, what is frozen in evaluation mode. A frozen layer saves its weight's
    gradient, and everything below the first trainable layer saves its input's gradient too. Convolutions
    and matrix products only; the optimizer's step is element-wise and not part of it.
    """

    def count(model: nn.Module) -> int:
        train_mode(model)
        # Two images, since batch norm refuses to train on one where only a single position is left.
        return second_count.forward_and_backward_macs(model, images(model, 2, channels, image_size)) // 2

    return _on_a_copy(model, count)


def _on_a_copy(model: nn.Module, count: Callable[[nn.Module], Result]) -> Result:
    """What `count` says of a copy without weights or, where the model looks at its numbers, of a real one."""
    with nothing_hidden():
        try:
            return count(copy_to(model, "meta"))
        except Exception:
            if any(parameter.is_meta for parameter in model.parameters()):
                raise
            # Dropout draws random numbers here, which the caller's sequence is not to notice.
            with torch.random.fork_rng(devices=[]):
                return count(copy_to(model, "cpu"))


def _first_count(model: nn.Module, inputs: torch.Tensor) -> JitModelAnalysis:
    """fvcore's analysis of one trace, both quantities at once."""
    analysis = JitModelAnalysis(model, inputs).set_op_handle(**HANDLERS)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with torch.no_grad(), RecordedConvolutions():
        analysis.total()
    return analysis


def _combine(analysis: JitModelAnalysis, second: int) -> MacCount:
    """The two counters' findings as one."""
    counts = analysis.by_operator()
    by_operator = {name: number for (quantity, name), number in counts.most_common() if quantity == "macs"}
    modules = {
        path: sum(number for (quantity, _), number in operators.items() if quantity == "macs")
        for path, operators in analysis.by_module_and_operator().items()
    }
    macs = sum(by_operator.values())
    first = sum(number for name, number in by_operator.items() if name in PRODUCT_NAMES)
    difference = abs(second - first) / first if first else float(second != first)
    return MacCount(
        macs=macs,
        flops=2 * macs,
        activations=sum(number for (quantity, _), number in counts.items() if quantity == "activations"),
        by_operator=by_operator,
        by_module={path: number for path, number in modules.items() if number},
        uncounted_operators={
            kind.removeprefix("aten::"): number for kind, number in analysis.unsupported_ops().most_common()
        },
        cross_check=CrossCheck(SECOND_COUNTER, second, first, difference, difference <= AGREEMENT),
    )

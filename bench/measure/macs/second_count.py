"""The second, independent count: torch's FlopCounterMode, which watches operators as they are dispatched.

It shares no code with the first count (a graph traced beforehand, formulas of fvcore and `handlers`), so
that an operator missed by one shows as a disagreement. It sees convolutions and matrix products only,
attention's two included, which is also what a training step is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten
Shape = Sequence[int]


def _attention(query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any) -> int:
    return int(sdpa_flop_count(query, _for_each(query, key), _for_each(query, value)))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any) -> int:
    key, value = _for_each(query, key), _for_each(query, value)
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


def _for_each(query: Shape, key: Shape) -> Shape:
    """The key's shape with a head for each of the query's, where one serves several; torch 2.10 counts no others."""
    return (*query[:2], *key[2:])


def _matrix_by_vector(matrix: Shape, vector: Shape, **kwargs: Any) -> int:
    return 2 * prod(matrix)


def _matrix_by_vector_added(added: Shape, matrix: Shape, vector: Shape, **kwargs: Any) -> int:
    return 2 * prod(matrix)


def _batch_of_products_summed(added: Shape, first: Shape, second: Shape, **kwargs: Any) -> int:
    return 2 * prod(first) * second[-1]


def _convolution_backward(
    gradient: Shape,
    input: Shape,
    weight: Shape,
    bias: Shape | None,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    transposed: bool,
    output_padding: Shape,
    groups: int,
    wanted: Sequence[bool],
    **kwargs: Any,
) -> int:
    """As many FLOPs as the forward pass for each of the input's and the weight's gradient that is wanted.

    torch's own formula forgets the groups in the weight's gradient: a depthwise convolution of 512
    channels would count 512 times too much.
    """
    positions = (input if transposed else gradient)[2:]
    forward = 2 * input[0] * prod(weight) * prod(positions)
    return forward * (wanted[0] + wanted[1])


# What torch's registry lacks, the CPU's attention above all, or has wrong.
FORMULAS: dict[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_fused_attention_overrideable: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten._scaled_dot_product_fused_attention_overrideable_backward: _attention_backward,
    aten.dot: _matrix_by_vector,
    aten.mv: _matrix_by_vector,
    aten.addmv: _matrix_by_vector_added,
    aten.addbmm: _batch_of_products_summed,
    aten.convolution_backward: _convolution_backward,
}


def forward_macs(model: nn.Module, inputs: Tensor) -> int:
    """MACs of the convolutions and matrix products of one forward pass of `model`, as it stands."""
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        model(inputs)
    return int(counter.get_total_flops()) // 2


def forward_and_backward_macs(model: nn.Module, inputs: Tensor) -> int:
    """MACs of one forward and backward pass of `model`, as it stands, its own loss term (`training_loss`) included.

    Only the products that some trainable parameter needs run in the backward pass, and only they count.
    """
    with torch.enable_grad(), FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        found = tree_leaves(model(inputs))
        own_term = getattr(model, "training_loss", None)
        found.append(own_term() if callable(own_term) else None)
        outputs = [leaf for leaf in found if isinstance(leaf, Tensor) and leaf.requires_grad]
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
    return int(counter.get_total_flops()) // 2

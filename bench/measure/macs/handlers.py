"""What each operator of a traced model costs: one small function an operator, in one dictionary.

fvcore counts convolutions, linear layers, plain matrix products, normalisations, average pooling and
interpolation; its figures for those are kept, since the published ones were made with them. Added here
is what it leaves out or gets wrong in current image models: attention (fused, masked, grouped), products
with broadcast batches, einsum without allocating its operands, recurrent layers, and convolutions whose
padding is a word.

Conventions, those of fvcore and so of the published figures:
- one multiply-accumulate is one; a bias is free;
- a masked or causal attention costs as much as a full one, because that is what the dense kernels do;
- batch norm in evaluation mode costs 2 an element, layer and group norm 5 (4 without weights), average
  pooling to a size 1 an input element, bilinear interpolation 4 an output element;
- activation functions, softmax, additions and other element-wise work cost nothing and are listed as
  uncounted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from fvcore.nn.flop_count import _DEFAULT_SUPPORTED_OPS as FVCORE_HANDLERS
from fvcore.nn.jit_handles import get_shape

# A node's inputs or outputs in the traced graph, torch._C.Value, which has no public type.
Values = Sequence[Any]
# Keys are ("macs" or "activations", operator).
Handler = Callable[[Values, Values], Counter[tuple[str, str]]]


class Cost(NamedTuple):
    """What one call of an operator takes."""

    macs: int
    activations: int  # output elements


def convolution(inputs: Values, outputs: Values) -> Cost:
    """input (N, C, ...), weight (C_out, C / groups, ...), transposed: (C, C_out / groups, ...)."""
    weight, output = get_shape(inputs[1]), get_shape(outputs[0])
    transposed = inputs[6].toIValue()
    # Each element of the larger side meets one filter; strides and dilation show in the shapes alone.
    elements = prod(get_shape(inputs[0])) if transposed else prod(output)
    return Cost(elements * prod(weight[1:]), prod(output))


def convolution_with_named_padding(inputs: Values, outputs: Values) -> Cost:
    """As `convolution`, where padding is "same" or "valid"; never transposed."""
    output = get_shape(outputs[0])
    return Cost(prod(output) * prod(get_shape(inputs[1])[1:]), prod(output))


def product(inputs: Values, outputs: Values) -> Cost:
    """(..., M, K) × (..., K, N): batches broadcast, vectors in either place; also linear and inner, with (N, K)."""
    output = get_shape(outputs[0])
    return Cost(prod(output) * get_shape(inputs[0])[-1], prod(output))


def product_added(inputs: Values, outputs: Values) -> Cost:
    """addmm, baddbmm, addmv: a tensor to add, then the two factors."""
    return product(inputs[1:], outputs)


def summed_products(inputs: Values, outputs: Values) -> Cost:
    """addbmm: a tensor to add, then a batch of pairs whose products are summed."""
    batch, rows, inner = get_shape(inputs[1])
    columns = get_shape(inputs[2])[-1]
    return Cost(batch * rows * inner * columns, batch * rows * columns)


def tensor_product(inputs: Values, outputs: Values) -> Cost:
    """tensordot: the dimensions of the first factor to sum over are the third input."""
    first, output = get_shape(inputs[0]), get_shape(outputs[0])
    return Cost(prod(output) * prod(first[dimension] for dimension in _integers(inputs[2])), prod(output))


def attention(inputs: Values, outputs: Values) -> Cost:
    """query (..., L, E), key (..., S, E), value (..., S, V) → (..., L, V): two products.

    The output's batch and heads already carry broadcasting and groups (fewer key heads than query heads).
    """
    query, key, output = get_shape(inputs[0]), get_shape(inputs[1]), get_shape(outputs[0])
    rows = prod(output[:-1])
    scores = rows * key[-2]
    return Cost(scores * (query[-1] + output[-1]), scores + prod(output))


def _integers(value: Any) -> list[int]:
    """A list of integers, which the graph holds as a constant (None where left out) or as a list of constants."""
    if value.node().kind() == "prim::ListConstruct":
        return [element.toIValue() for element in value.node().inputs()]
    return list(value.toIValue() or ())


def einsum(inputs: Values, outputs: Values) -> Cost:
    """Contractions two at a time, in the order in which torch makes them."""
    equation = inputs[0].toIValue().replace(" ", "")
    shapes = [get_shape(value) for value in inputs[1].node().inputs()]
    path = _integers(inputs[2]) if len(inputs) > 2 else None
    return contraction_cost(equation, shapes, path)


def contraction_cost(equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] | None = None) -> Cost:
    """The products of an einsum of operands of those shapes.

    `path` is torch's flat list of operand pairs; without one, torch contracts from left to right. A pair
    with nothing to sum over is an element-wise multiplication, which costs nothing.
    """
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        result = "..." * ("..." in left) + "".join(sorted(letter for letter in letters if letters.count(letter) == 1))
    sizes: dict[str, int] = {}
    operands = [_labels(term, shape, sizes) for term, shape in zip(terms, shapes, strict=True)]
    batch = [label for label in sizes if label.isdigit()] if "..." in result else []
    kept_at_end = {*result.replace(".", ""), *batch}
    macs = activations = 0
    steps = list(path) if path else [0, 1] * (len(operands) - 1)
    for first, second in zip(steps[::2], steps[1::2], strict=True):
        a, b = operands[first], operands[second]
        operands = [labels for index, labels in enumerate(operands) if index not in (first, second)]
        needed = kept_at_end.union(*operands)
        summed = (a & b) - needed
        kept = (a | b) & needed
        if summed:
            macs += prod(sizes[label] for label in kept | summed)
            activations += prod(sizes[label] for label in kept)
        # torch appends a path's result, but goes on with it first where it contracts from left to right.
        operands = [*operands, kept] if path else [kept, *operands]
    return Cost(macs, activations)


def _labels(term: str, shape: Sequence[int], sizes: dict[str, int]) -> set[str]:
    """The labels of one operand, "..." spelled out as numbered dimensions from the right; notes their sizes."""
    before, dots, after = term.partition("...")
    hidden = len(shape) - len(before) - len(after) if dots else 0
    labels = [*before, *(str(position) for position in range(hidden, 0, -1)), *after]
    for label, size in zip(labels, shape, strict=True):
        sizes[label] = max(size, sizes.get(label, 1))
    return set(labels)


def recurrent(inputs: Values, outputs: Values) -> Cost:
    """LSTM, GRU and plain RNN: every weight matrix meets every step of every sequence."""
    steps = prod(get_shape(inputs[0])[:-1])
    # The weights are the last list among the inputs; an LSTM's two states are one before it.
    lists = [value.node() for value in inputs if value.node().kind() == "prim::ListConstruct"]
    weights = [get_shape(value) for value in lists[-1].inputs()]
    matrices = [shape for shape in weights if len(shape) == 2]
    return Cost(steps * sum(map(prod, matrices)), steps * sum(rows for rows, _ in matrices))


# Convolutions and matrix products: what the second counter sees too.
PRODUCTS: dict[str, tuple[str, Callable[[Values, Values], Cost]]] = {
    "aten::_convolution": ("conv", convolution),
    "aten::_convolution_mode": ("conv", convolution_with_named_padding),
    "aten::linear": ("linear", product),
    "aten::addmm": ("addmm", product_added),
    "aten::mm": ("mm", product),
    "aten::mv": ("mv", product),
    "aten::addmv": ("addmv", product_added),
    "aten::dot": ("dot", product),
    "aten::inner": ("inner", product),
    "aten::tensordot": ("tensordot", tensor_product),
    "aten::bmm": ("bmm", product),
    "aten::baddbmm": ("baddbmm", product_added),
    "aten::addbmm": ("addbmm", summed_products),
    "aten::matmul": ("matmul", product),
    "aten::einsum": ("einsum", einsum),
    "aten::scaled_dot_product_attention": ("scaled_dot_product_attention", attention),
    "aten::lstm": ("lstm", recurrent),
    "aten::gru": ("gru", recurrent),
    "aten::rnn_tanh": ("rnn", recurrent),
    "aten::rnn_relu": ("rnn", recurrent),
}
PRODUCT_NAMES = frozenset(name for name, _ in PRODUCTS.values())


def _product_handler(name: str, cost: Callable[[Values, Values], Cost]) -> Handler:
    def handle(inputs: Values, outputs: Values) -> Counter[tuple[str, str]]:
        macs, activations = cost(inputs, outputs)
        return Counter({("macs", name): macs, ("activations", name): activations})

    return handle


def _fvcore_handler(name: str, macs: Callable[[list[Any], list[Any]], float]) -> Handler:
    def handle(inputs: Values, outputs: Values) -> Counter[tuple[str, str]]:
        return Counter({("macs", name): int(macs(list(inputs), list(outputs)))})

    return handle


# These move, repeat or drop values and compute nothing; fvcore has no entry for them.
MOVES_ONLY = (
    *("aten::dropout_", "aten::eye", "aten::feature_dropout", "aten::flip", "aten::im2col", "aten::pad"),
    *("aten::repeat", "aten::repeat_interleave", "aten::tile", "aten::unfold"),
    *("aten::expand_as", "aten::reshape_as", "aten::unflatten"),
)

# Operator → handler; None where there is nothing to count. Both quantities come from one pass over one trace.
HANDLERS: dict[str, Handler | None] = (
    {
        kind: _fvcore_handler(kind.removeprefix("aten::"), macs)
        for kind, macs in FVCORE_HANDLERS.items()
        if kind not in PRODUCTS
    }
    | {kind: _product_handler(name, cost) for kind, (name, cost) in PRODUCTS.items()}
    | dict.fromkeys(MOVES_ONLY)
)

"""Cuts a model where its frozen prefix ends, by tracing it with torch.fx.

A module that is frozen as a whole, or trains as a whole, is one step of the trace: it runs as it is
written, whatever happens inside. What does not depend on anything that trains, and is in evaluation
mode while the rest trains, is the prefix. The rest takes of it tensors with a row for each picture
(the features), and constants: sizes, position embeddings.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from bench.models.freezing import train_mode
from bench.train.prefix.tokens import spare_unread_tokens

Features = tuple[torch.Tensor, ...]
Prefix = Callable[[torch.Tensor], Features]
Rest = Callable[..., torch.Tensor]


class CannotSplitError(Exception):
    """The model has no frozen prefix that can be computed once; the text says why."""


class _Tracer(fx.Tracer):
    """Traces through modules of which a part trains; takes every other as one step."""

    def __init__(self) -> None:
        from timm.layers._fx import get_notrace_functions, get_notrace_modules

        known = get_notrace_functions()  # type: ignore[no-untyped-call]
        functions = tuple(function for function in known if callable(function))
        super().__init__(autowrap_functions=functions)
        self.never_traced = tuple(get_notrace_modules())  # type: ignore[no-untyped-call]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        trains = {parameter.requires_grad for parameter in m.parameters()}
        return len(trains) < 2 or isinstance(m, self.never_traced)


def _trace(model: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(model)
    except Exception as error:  # a forward pass may do anything with a tensor that is none
        raise CannotSplitError(f"torch.fx cannot trace it: {str(error).partition(chr(10))[0]}") from None


def halves(model: nn.Module, images: torch.Tensor) -> tuple[Prefix, Rest, list[str]]:
    """The model cut where its frozen prefix ends: the prefix, the rest, and the names of the layers between them.

    `images` are three, to try on; the model is left in evaluation mode. Raises CannotSplitError.
    """
    # What a forward pass reads of its mode is fixed by the trace. So each mode has a trace of its own, and must
    # have the same prefix. Which layers may be random is seen in training mode.
    train_mode(model)
    graph = _trace(model)
    fixed = _fixed_nodes(model, graph)
    model.eval()
    cut = _cut(model, graph, fixed, images)
    evaluating = _trace(model)
    if _code(evaluating) == _code(graph):
        return cut.prefix, cut.rest, cut.at
    names = {node.name for node in fixed}
    same_fixed = {node: None for node in evaluating.nodes if node.name in names}
    other = _cut(model, evaluating, same_fixed, images)
    if other.prefix_code != cut.prefix_code:
        raise CannotSplitError("its frozen part is another in training than in evaluation")

    def rest_of_mode(*features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = cut.rest(*features) if model.training else other.rest(*features)
        return logits

    return cut.prefix, rest_of_mode, cut.at


def _code(graph: fx.Graph) -> str:
    return graph.python_code("self").src


@dataclass(frozen=True)
class _Cut:
    """A trace cut in two: the prefix with its code, the rest, and the layers between them."""

    prefix: Prefix
    prefix_code: str
    rest: fx.GraphModule
    at: list[str]


def _cut(model: nn.Module, graph: fx.Graph, fixed: dict[fx.Node, None], images: torch.Tensor) -> _Cut:
    """The trace cut where what is fixed ends. The model is in evaluation mode."""
    boundary = [node for node in fixed if node.op != "get_attr" and any(user not in fixed for user in node.users)]
    if any(node.op == "placeholder" for node in boundary):
        raise CannotSplitError("what trains takes the pictures themselves")
    if not any(node.op == "call_module" and _has_parameters(model, node) for node in fixed):
        raise CannotSplitError("nothing that is frozen precedes what trains")
    prefix = _prefix(model, fixed, boundary)
    pairs = zip(boundary, prefix(images[:2]), prefix(images), strict=True)
    recipes = {node: _recipe(node, two, three) for node, two, three in pairs}
    at = list(dict.fromkeys(_layer(node) for node in boundary if _has_feature(recipes[node])))
    if not at:
        raise CannotSplitError("what trains takes no features of the pictures")

    def features(batch: torch.Tensor) -> Features:
        values = prefix(batch)
        return tuple(_collected(tuple(recipes.values()), values))

    return _Cut(features, _code(prefix.graph), _rest(model, graph, fixed, recipes), at)


def _layer(node: fx.Node) -> str:
    """The layer whose output, or a part of it, the node is; the node's own name where it is none's."""
    made = node
    while made.op == "call_function" and made.target is operator.getitem and isinstance(made.args[0], fx.Node):
        made = made.args[0]
    return str(made.target) if made.op == "call_module" else node.name


def _has_parameters(model: nn.Module, node: fx.Node) -> bool:
    return any(True for _ in model.get_submodule(str(node.target)).parameters())


def _fixed_nodes(model: nn.Module, graph: fx.Graph) -> dict[fx.Node, None]:
    """The steps that give the same every epoch, in order. The model is in training mode."""
    fixed: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node.op == "output" or not all(argument in fixed for argument in node.all_input_nodes):
            continue
        if node.op == "call_module":
            module = model.get_submodule(str(node.target))
            # Dropout before anything that trains is in evaluation mode; what is in training mode may be random.
            same = not any(p.requires_grad for p in module.parameters()) and not any(
                m.training for m in module.modules()
            )
        elif node.op == "get_attr":
            value = _attribute(model, node)
            same = not (isinstance(value, torch.Tensor) and value.requires_grad)
        else:
            same = True
        if same:
            fixed[node] = None
    return fixed


def _prefix(model: nn.Module, fixed: dict[fx.Node, None], outputs: list[fx.Node]) -> fx.GraphModule:
    """A module from images to the values of `outputs`, as a tuple."""
    new = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in fixed:
        copies[node] = new.node_copy(node, copies.__getitem__)
    new.output(tuple(copies[node] for node in outputs))
    return _module(model, new, {})


def _module(model: nn.Module, graph: fx.Graph, constants: dict[str, torch.Tensor]) -> fx.GraphModule:
    """The graph as a module that shares the model's layers."""
    own: dict[str, Any] = {
        str(n.target): _attribute(model, n)
        for n in graph.nodes
        if n.op in {"call_module", "get_attr"} and n.target not in constants
    }
    module = fx.GraphModule(own | constants, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _attribute(model: nn.Module, node: fx.Node) -> Any:
    return functools.reduce(getattr, str(node.target).split("."), model)


class _Feature:
    """Stands for a tensor with a row for each picture, in a value that the rest takes."""


class _BatchSize:
    """Stands for the number of pictures."""


def _recipe(node: fx.Node, two: Any, three: Any) -> Any:
    """How to make the node's value for any batch, from its values for two pictures and for three.

    Tuples and lists are kept; in them, and by itself, a feature, the batch size, or a constant. Raises
    CannotSplitError for what is none of them.
    """
    if isinstance(two, (tuple, list)) and len(two) == len(three):  # a tensor's shape is a tuple
        items = [_recipe(node, a, b) for a, b in zip(two, three, strict=True)]
        return items if isinstance(two, list) else tuple(items)
    if isinstance(two, torch.Tensor):
        if two.ndim and (len(two), len(three)) == (2, 3) and two.shape[1:] == three.shape[1:]:
            return _Feature()
        if two.shape == three.shape and torch.equal(two, three):
            return two
    elif (two, three) == (2, 3):
        return _BatchSize()
    elif two == three:
        return two
    raise CannotSplitError(f"what trains takes {node.name}, which has no row for each picture")


def _has_feature(recipe: Any) -> bool:
    if isinstance(recipe, (tuple, list)):
        return any(map(_has_feature, recipe))
    return isinstance(recipe, _Feature)


def _collected(recipe: Any, value: Any) -> Iterator[torch.Tensor]:
    """The features in the value."""
    if isinstance(recipe, (tuple, list)):
        for part, item in zip(recipe, value, strict=True):
            yield from _collected(part, item)
    elif isinstance(recipe, _Feature):
        yield value


def _count(recipe: Any) -> int:
    return sum(map(_count, recipe)) if isinstance(recipe, (tuple, list)) else isinstance(recipe, _Feature)


def _rest(model: nn.Module, graph: fx.Graph, fixed: dict[fx.Node, None], recipes: dict[fx.Node, Any]) -> fx.GraphModule:
    """A module from the features, in the order of the recipes, to the logits."""
    new = fx.Graph()
    features = [new.placeholder(f"feature_{index}") for index in range(_count(tuple(recipes.values())))]
    unused = iter(features)
    constants: dict[str, torch.Tensor] = {}

    def written(recipe: Any) -> Any:
        if isinstance(recipe, (tuple, list)):
            items = [written(item) for item in recipe]
            return items if isinstance(recipe, list) else tuple(items)
        if isinstance(recipe, _Feature):
            return next(unused)
        if isinstance(recipe, _BatchSize):
            return new.call_method("size", (features[0], 0))
        if isinstance(recipe, torch.Tensor):
            name = f"constant_{len(constants)}"
            constants[name] = recipe
            return new.create_node("get_attr", name)
        return recipe

    known = {node: written(recipe) for node, recipe in recipes.items()}
    for node in graph.nodes:
        if node not in known and (node not in fixed or node.op == "get_attr"):
            known[node] = _copied(new, node, known)
    rest = _module(model, new, constants)
    for path, spared in spare_unread_tokens(new, dict(rest.named_modules())).items():
        rest.set_submodule(path, spared)  # in the trace's own tree, not in the model's
    return rest


def _copied(new: fx.Graph, node: fx.Node, known: dict[fx.Node, Any]) -> fx.Node:
    """The node in the new graph; what it takes may have become a plain value there."""
    arguments, keywords = fx.map_arg((node.args, node.kwargs), known.__getitem__)
    return new.create_node(node.op, node.target, arguments, keywords, node.name)

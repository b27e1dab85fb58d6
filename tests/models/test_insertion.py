"""A layer between the blocks of a model, under a name of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.models.insertion import insert_after


def model() -> nn.Module:
    chain = nn.Module()
    chain.before = nn.Linear(2, 2)
    chain.blocks = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    chain.after = nn.Linear(2, 2)
    return chain


def test_the_blocks_keep_their_names_and_run_in_order_with_the_layer_where_it_was_put() -> None:
    chain = model()
    first, second, third = chain.blocks
    new, newer = nn.Linear(2, 2), nn.ReLU()
    insert_after(chain, 1, "new", new)
    insert_after(chain, 1, "newer", newer)
    assert [name for name, _ in chain.blocks.named_children()] == ["0", "1", "newer", "new", "2"]
    assert chain.get_submodule("blocks.2") is third
    x = torch.randn(3, 2)
    assert torch.equal(chain.blocks(x), third(new(newer(second(first(x))))))
    # What is registered after what decides over what trains.
    names = [name.partition(".")[0] for name, _ in chain.named_parameters()]
    assert list(dict.fromkeys(names)) == ["before", "blocks", "after"]


def test_a_block_that_is_not_there_and_a_name_that_is_taken_are_refused() -> None:
    chain = model()
    with pytest.raises(ValueError, match="no block 3"):
        insert_after(chain, 3, "new", nn.ReLU())
    with pytest.raises(ValueError, match="there is a layer 2 already"):
        insert_after(chain, 0, "2", nn.ReLU())
    chain.blocks = nn.ModuleList(chain.blocks)
    with pytest.raises(TypeError, match="Module has no blocks in sequence"):
        insert_after(chain, 0, "new", nn.ReLU())

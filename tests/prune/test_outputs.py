"""A model's output may be any object: the tensors in it are found, or the model is refused."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.errors import UserError
from autoprune.prune.find import find_groups


@dataclass
class Record:
    logits: Tensor
    name: str = "x"


class Plain:
    def __init__(self, logits: Any) -> None:
        self.inner, self.me = {"scores": logits}, self


class Slotted:
    __slots__ = ("logits", "unset")

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Derived(Slotted):
    pass


Pair = namedtuple("Pair", "logits other")
HOLDERS = {
    "tensor": lambda y: y,
    "list of tuples": lambda y: [(1, y)],
    "mapping": lambda y: OrderedDict(a={"b": [y, None]}),
    "named tuple": lambda y: Pair(y, "text"),
    "set": lambda y: {y},
    "data class": Record,
    "data class in an object": lambda y: Plain(Record(y)),
    "object": Plain,
    "slots": Slotted,
    "slots and attributes": Derived,
}


class Network(nn.Module):
    def __init__(self, hold) -> None:
        super().__init__()
        self.a, self.head, self.hold = nn.Linear(6, 8), nn.Linear(8, 4), hold

    def forward(self, x: Tensor) -> Any:
        return self.hold(self.head(self.a(x).relu()))


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_head_is_never_pruned_whatever_its_output_lies_in(holder: str) -> None:
    groups = find_groups(Network(HOLDERS[holder]), torch.randn(2, 6))
    assert [group.name for group in groups] == ["a"]
    assert groups.left_alone["head"] == "it is the model's output"
    assert groups.outputs == (torch.Size([2, 4]),)


@pytest.mark.parametrize(
    ("hold", "message"),
    [
        (lambda y: (part for part in y), "the model's output holds a generator, into which AutoPrune cannot look"),
        (lambda y: (y, lambda: y), "holds a function"),
        (lambda y: y.numpy(), "holds a ndarray"),
        (lambda y: {"loss": float(y.sum())}, "the model's output holds no tensor"),
    ],
)
def test_an_output_that_cannot_be_looked_into_is_refused_in_one_line(hold, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        find_groups(Network(hold), torch.randn(2, 6))
    assert "\n" not in str(error.value)


def test_the_key_and_value_cache_of_a_transformer_may_shrink() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=50, num_hidden_layers=1, use_cache=True, **sizes)
    )
    groups = find_groups(model, {"input_ids": torch.randint(50, (2, 9))})
    assert [group.channels for group in groups] == [2, 64]
    assert groups.left_alone["lm_head"] == "it is the model's output"

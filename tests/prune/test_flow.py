"""Who feeds whom in a network: found by running it, whatever it is written like."""

import pytest
import torch
from models import CASES
from torch import nn

from autoprune.prune.graph.flow import flow_of


class Block(nn.Module):
    """Two layers around whose second one the first one's result is led."""

    def __init__(self, join):
        super().__init__()
        self.a, self.b, self.c, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.LazyLinear(2), nn.LayerNorm(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.join = join
        self(torch.zeros(1, 4))

    def forward(self, x):
        first = self.norm(self.a(x).relu()) * self.scale
        return self.c(self.join(first, self.b(first.clone())).flatten(1))


@pytest.mark.parametrize(
    ("join", "kind"),
    [
        (lambda x, y: x + y, "added"),
        (lambda x, y: y.sub_(x), "added"),
        (lambda x, y: torch.cat([y, x], 1), "concatenated"),
        (lambda x, y: x * y.sigmoid(), "multiplied"),
    ],
)
def test_a_result_that_is_led_around_a_layer_is_joined_after_it(join, kind):
    edges = flow_of(Block(join), torch.ones(1, 4), ["a", "b", "c"])
    assert edges == ((0, 1, "read"), (0, 1, kind), (1, 2, "read"))


def test_a_shortcut_with_a_layer_of_its_own_reads_what_the_block_reads():
    names = [name for name, module in CASES["resnet20"].build().named_modules() if isinstance(module, nn.Conv2d)]
    model, example = CASES["resnet20"].build(), CASES["resnet20"].example()
    place = names.index("layer2.0.shortcut.0")
    edges = flow_of(model, example, names)
    assert [each[::2] for each in edges if each.target == place] == [(place - 3, "read"), (place - 1, "added")]
    assert (place, place + 2, "added") in edges


def test_what_a_dense_block_concatenates_again_and_again_is_one():
    model, example = CASES["densenet"].build(), CASES["densenet"].example()
    owners = dict.fromkeys(name.rpartition(".")[0] for name, p in model.named_parameters() if p.ndim > 1)
    edges = flow_of(model, example, list(owners))
    joined = [edge for edge in edges if edge.kind == "concatenated"]
    assert len(joined) == 6  # one for each of its layers
    assert len({edge.target for edge in joined}) == 6


def test_the_model_is_left_as_it_was():
    model = Block(torch.add).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    flow_of(model, torch.ones(1, 4), ["a", "b", "c"])
    assert model.training and torch.backends.mha.get_fastpath_enabled() == fast
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

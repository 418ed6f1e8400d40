"""The layers that are drawn: in the order in which they run, and with the sizes of what is kept of them."""

import json

import pytest
import torch
from models import CASES

from autoprune.prune.find import find_groups
from autoprune.prune.groups import removed_positions
from autoprune.prune.layers import network_of
from autoprune.prune.removal import cut
from autoprune.prune.size_model import size_model
from autoprune.results.network import read_network


def network_and_sizes(model, example):
    groups = find_groups(model, example, verify=False)
    sizes = size_model(model, example, groups, round_to=1)
    return network_of(model, example, groups, sizes), groups, sizes


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "densenet", "unet", "vit", "transformer"])
def test_what_is_kept_of_each_layer_is_what_the_pruned_network_has(name):
    torch.manual_seed(0)
    case = CASES[name]
    model, example = case.build().eval(), case.example()
    network, groups, sizes = network_and_sizes(model, example)
    owners = {key.rpartition(".")[0] or key for key, value in model.named_parameters() if value.ndim > 1}
    assert {layer.name for layer in network.layers} == owners
    assert len(network.layers) == len(owners)
    gone = {group.name: range(group.channels // 3) for group in groups}
    left = {group.name: group.channels - group.channels // 3 for group in groups}
    smaller = cut(model, removed_positions(groups, gone))
    rows = network.kept(left)
    assert sum(params for _, params, _ in rows) == pytest.approx(sum(p.numel() for p in smaller.parameters()), abs=1)
    modules = dict(smaller.named_modules())
    for layer, (outputs, _, _) in zip(network.layers, rows, strict=True):
        module = modules.get(layer.name)
        for attribute in ("out_channels", "out_features"):
            if hasattr(module, attribute):
                assert outputs == getattr(module, attribute), layer.name


def test_layers_stand_in_the_order_in_which_they_run_whatever_the_order_of_their_definition():
    class Backwards(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.norm = torch.nn.Linear(16, 3), torch.nn.BatchNorm1d(16)
            self.body, self.stem = torch.nn.Linear(8, 16), torch.nn.Linear(4, 8)

        def forward(self, x):
            return self.head(self.norm(self.body(self.stem(x).relu())).relu())

    network, groups, _ = network_and_sizes(Backwards().eval(), torch.zeros(1, 4))
    assert [layer.name for layer in network.layers] == ["stem", "body", "head"]
    assert [layer.groups for layer in network.layers] == [{"stem": 1.0}, {"body": 1.0}, {}]
    assert [outputs for outputs, _, _ in network.kept({"stem": 2, "body": 4})] == [2, 4, 3]
    assert network.kept({})[1][1] == 8 * 16 + 16 + 2 * 16  # the norm goes with the layer before it


def test_layers_of_a_dropped_block_are_gone():
    case = CASES["resnet20"]
    network, _, _ = network_and_sizes(case.build().eval(), case.example())
    block = network.layers[1].name.rpartition(".")[0]
    rows = dict(zip((layer.name for layer in network.layers), network.kept({}, [block]), strict=True))
    assert {sizes for name, sizes in rows.items() if name.startswith(f"{block}.")} == {(0, 0.0, 0.0)}
    assert rows[network.layers[0].name][0] == network.layers[0].outputs


def test_a_network_survives_json_and_a_damaged_file_is_none(tmp_path):
    case = CASES["lenet"]
    network, _, _ = network_and_sizes(case.build().eval(), case.example())
    file = tmp_path / "network.json"
    file.write_text(json.dumps(network.to_dict()))
    assert read_network(tmp_path) == network
    for damaged in ("[1", "[]", '{"layers": [{}]}', '{"layers": 3}'):
        file.write_text(damaged)
        assert read_network(tmp_path) is None

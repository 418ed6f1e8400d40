"""Coupled groups and the removal of their channels, on small networks whose answer is known."""

import pytest
import torch
from torch import nn

from autoprune.errors import TrialFailure
from autoprune.prune.find import find_groups
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels
from autoprune.task.models.digits import DigitsNet
from autoprune.task.models.lenet import LeNet5
from autoprune.task.models.resnet import ResNet

NETWORKS = {
    "digits": (DigitsNet, torch.zeros(1, 1, 8, 8)),
    "lenet5": (LeNet5, torch.zeros(1, 1, 28, 28)),
    "resnet20": (ResNet, torch.zeros(1, 3, 32, 32)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    build, example = NETWORKS[request.param]
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh statistics would make every comparison vacuous
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval(), example


def test_layers_tied_by_a_residual_add_are_one_group():
    groups = {group.name: group for group in find_groups(DigitsNet(), torch.zeros(1, 1, 8, 8))}
    assert list(groups) == ["stem.0", "block.0.0", "down.0", "hidden"]
    assert groups["stem.0"].producers == ("stem.0", "block.2.0")
    assert groups["stem.0"].consumers == ("block.0.0", "down.0")
    assert groups["hidden"].channels == 64


def test_the_output_layer_and_layers_to_be_kept_are_left_alone_with_a_reason():
    groups = find_groups(DigitsNet(), torch.zeros(1, 1, 8, 8), keep=("down.0",))
    assert "output" in groups.left_alone["head"]
    assert "down.0" in groups.left_alone["down.0"]
    assert "down.0" not in [group.name for group in groups]


def test_resnet_20_has_its_stages_and_the_inside_of_each_block_as_groups():
    groups = find_groups(ResNet(20), torch.zeros(1, 3, 32, 32))
    assert len(groups) == 12
    assert [g.channels for g in groups if len(g.producers) > 1] == [16, 32, 64]


def test_the_removed_network_computes_what_the_zeroed_one_does(network):
    model, example = network
    groups = find_groups(model, example)
    gone = {g.name: list(range(0, g.channels, 2)) for g in groups}
    smaller = remove_channels(model, example, groups, gone)

    def zero(indices):
        def hook(_module, _inputs, output):
            output = output.clone()
            output[:, indices] = 0
            return output

        return hook

    for group in groups:
        for name in group.producers + group.followers:
            model.get_submodule(name).register_forward_hook(zero(gone[group.name]))
    x = torch.randn(4, *example.shape[1:])
    with torch.no_grad():
        expected, found = model(x), smaller(x)
    assert expected.std() > 0
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert sum(p.numel() for p in smaller.parameters()) < 0.5 * sum(p.numel() for p in model.parameters())


def test_the_model_that_is_given_stays_as_it_was(network):
    model, example = network
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    groups = find_groups(model, example)
    remove_channels(model, example, groups, {g.name: [0] for g in groups})
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_pruned_network_is_rebuilt_from_its_state_dict_bit_for_bit(network):
    model, example = network
    groups = find_groups(model, example)
    smaller = remove_channels(model, example, groups, {g.name: list(range(g.channels // 3)) for g in groups}).eval()
    torch.manual_seed(1)
    again = rebuild(type(model)(), smaller.state_dict())
    x = torch.randn(2, *example.shape[1:])
    with torch.no_grad():
        assert torch.equal(again(x), smaller(x))


def test_a_group_is_never_emptied():
    model, example = LeNet5(), torch.zeros(1, 1, 28, 28)
    with pytest.raises(TrialFailure, match="group conv1 would lose all of its 20 channels"):
        remove_channels(model, example, find_groups(model, example), {"conv1": range(20)})

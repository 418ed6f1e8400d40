"""Running a network at other sizes, without building it anew."""

import random

import pytest
import torch
from models import CASES

from autoprune.prune.blocks import find_blocks, remove_blocks
from autoprune.prune.find import find_groups
from autoprune.prune.graph.trace import call, tensors
from autoprune.prune.groups import removed_positions
from autoprune.prune.removal import cut
from autoprune.supernet.resizable import Resizable
from autoprune.supernet.subnets import Subnet, Subnets

NAMES = ["lenet", "resnet20", "mobilenet_v2", "shufflenet", "resnext", "unet_group_norm", "vit", "swin", "transformer"]


@pytest.mark.parametrize("name", NAMES)
def test_versions_in_turn_compute_what_networks_that_were_cut_do(name):
    torch.manual_seed(0)
    case = CASES[name]
    model, example = case.build().eval(), case.example()
    groups = find_groups(model, example, verify=False)
    blocks = find_blocks(model, example)
    subnets = Subnets(groups, {}, blocks)
    rng = random.Random(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    within = Resizable(model)
    for _ in range(3):
        removal = {g.name: rng.sample(range(g.channels), rng.randrange(g.channels)) for g in groups}
        dropped = tuple(block for block in blocks if rng.random() < 0.3)
        expected = call(remove_blocks(cut(model, removed_positions(groups, removal)), dropped), example)
        found = subnets.run(model, Subnet(removal, dropped), lambda each: each(example), within)
        for one, other in zip(tensors(expected), tensors(found), strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    model.train()
    subnets.run(model, Subnet(removal, dropped), lambda each: each(torch.cat([example, example])), within)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())

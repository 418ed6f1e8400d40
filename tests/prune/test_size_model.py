"""The sizes that arithmetic promises are those of the network that is built."""

import random

import pytest
import torch
from models import CASES

from autoprune.measure import measure
from autoprune.prune.find import find_groups
from autoprune.prune.groups import removed_positions
from autoprune.prune.removal import cut
from autoprune.prune.size_model import size_model
from autoprune.results.size_model import SizeModel

NAMES = ["lenet", "resnet20", "mobilenet_v2", "densenet", "shufflenet", "resnext", "unet", "vit", "swin", "transformer"]


@pytest.mark.parametrize("name", NAMES)
def test_any_candidates_sizes_are_known_before_it_is_built(name):
    torch.manual_seed(0)
    case = CASES[name]
    model, example = case.build().eval(), case.example()
    groups = find_groups(model, example, verify=False)
    sizes = size_model(model, example, groups, round_to=1)
    rng = random.Random(name)
    gone = {g.name: rng.sample(range(g.channels), rng.randrange(g.channels)) for g in groups}
    smaller = cut(model, removed_positions(groups, gone))
    found = sizes.sizes({g.name: len(gone[g.name]) / g.channels for g in groups})
    assert found["params"] == pytest.approx(sum(p.numel() for p in smaller.parameters()), abs=1)
    assert found["macs"] == pytest.approx(measure.macs(smaller, example), rel=1e-4)


def test_a_size_model_survives_json_and_knows_the_levels_of_a_group(digits):
    task, _, dense = digits
    sizes = size_model(dense.model, task.example_input, dense.groups)
    again = SizeModel.from_dict(sizes.to_dict())
    asked = {"stem.0": 0.5, "hidden": 0.3}
    assert again.sizes(asked) == sizes.sizes(asked) != sizes.sizes({})
    assert sizes.levels("stem.0") == [0.0, 0.25, 0.5, 0.75]
    assert sizes.kept(asked) == {"stem.0": 16, "block.0.0": 32, "down.0": 64, "hidden": 48}

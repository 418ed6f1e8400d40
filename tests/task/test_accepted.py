"""Models that cannot be pruned are refused in one line; masks of torch.nn.utils.prune are made permanent on a copy."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from autoprune.errors import UserError
from autoprune.prune.blocks import find_blocks
from autoprune.prune.find import find_groups
from autoprune.prune.proof import equivalence_error, half
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels
from autoprune.trial.sensitivity import unit_norms

EXAMPLE = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, groups=2), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(24, 4))


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return network()


REFUSED = {
    "meta": (on_meta, "0.weight is on the meta device and has no values"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(2)), "0.weight has no shape yet"),
    "exported": (lambda: torch.export.export(network().eval(), (EXAMPLE,)), "torch.export has fixed shapes"),
    "its module": (lambda: torch.export.export(network().eval(), (EXAMPLE,)).module(), "torch.export has fixed shapes"),
    "a function": (lambda: torch.relu, "give a torch.nn.Module"),
}


@pytest.mark.parametrize("find", [find_groups, find_blocks])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_pruned_is_refused_in_one_line(name: str, find) -> None:
    build, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as error:
        find(build(), EXAMPLE)
    assert "\n" not in str(error.value)


def test_a_network_that_cannot_take_the_example_is_refused_with_its_shape() -> None:
    with pytest.raises(UserError, match=r"cannot take the example, of shape \(1, 2, 6, 6\) .*: RuntimeError: "):
        find_groups(network(), torch.zeros(1, 2, 6, 6))


def test_a_model_masked_by_torch_is_pruned_with_its_masks() -> None:
    model = network().eval()
    groups_before = [(group.name, group.channels) for group in find_groups(model, EXAMPLE)]
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.random_unstructured(model[0], "bias", 0.5)
    prune.ln_structured(model[3], "weight", 0.5, n=2, dim=0)
    prune.global_unstructured([(model[5], "weight")], prune.L1Unstructured, amount=0.3)
    wanted = model(EXAMPLE).detach()  # with gradients: such a weight cannot be copied

    groups = find_groups(model, EXAMPLE)
    assert [(group.name, group.channels) for group in groups] == groups_before
    assert torch.equal(model(EXAMPLE), wanted) and hasattr(model[0], "weight_orig"), "the model was changed"
    removed = {group.name: half(group) for group in groups}
    assert equivalence_error(model, EXAMPLE, groups, removed) < 1e-9
    assert unit_norms(model, groups["0"]).shape == (2,)  # halves of the grouped convolution
    smaller = remove_channels(model, EXAMPLE, groups, removed)
    assert (smaller[5].weight == 0).float().mean() > 0.2
    assert torch.equal(rebuild(network(), smaller.state_dict())(EXAMPLE), smaller(EXAMPLE))

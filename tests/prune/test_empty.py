"""Parts of a network to which nothing comes for the example, as a detector's heads where it detects nothing."""

import torch
from torch import nn

from autoprune.prune.find import find_groups
from autoprune.prune.removal import remove_channels


class Detector(nn.Module):
    """A second stage for those positions alone that a first one finds."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 24, 3, padding=1)
        self.score, self.mask, self.out = nn.Linear(24, 2), nn.Conv2d(24, 16, 3), nn.Conv2d(16, 4, 1)

    def forward(self, x):
        x = self.body(self.stem(x).relu()).relu()
        found = x[x.amax((1, 2, 3)) > 1e9]
        return self.score(x.mean((2, 3))), self.out(self.mask(found).relu())


def test_what_nothing_comes_to_is_left_alone_and_the_rest_is_pruned():
    torch.manual_seed(0)
    model, x = Detector().eval(), torch.randn(1, 3, 8, 8)
    groups = find_groups(model, x)
    assert [group.name for group in groups] == ["stem"]
    assert set(groups.left_alone) == {"body", "score", "mask", "out"}
    smaller = remove_channels(model, x, groups, {"stem": range(8)})
    assert smaller.stem.out_channels == smaller.body.in_channels == 8
    assert smaller.mask(torch.randn(2, 24, 8, 8)).shape == (2, 16, 6, 6)  # it fits what would come

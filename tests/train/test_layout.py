"""Batches lie channels last where that helps, and as they were where a network does not bear it."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import TinyNet, make_task
from torch import nn
from torch.utils.data import TensorDataset

from autoprune.task.task import Splits
from autoprune.train import layout, loop


class Viewing(TinyNet):
    """What many a network does, and what only rows of a contiguous tensor bear."""

    def forward(self, x):
        x = self.stem_bn(self.stem(x)).relu()
        x = nn.functional.adaptive_avg_pool2d(x, 2)
        return self.head(self.hidden(x.view(x.shape[0], -1)).relu())


def trained(make, monkeypatch, helps):
    """Train a network; return its weights, and how the activations lay that its second layer was given."""
    monkeypatch.setattr(layout, "helps", lambda device, precision: helps)
    task, data, _ = make_task()
    x = data.train.tensors[0].repeat(1, 3, 1, 1)  # of one channel, all layouts are the same
    model, lay = make(), []
    model.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.stem_bn.register_forward_pre_hook(
        lambda _, inputs: lay.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    task = replace(task, example=x[:1], data=lambda: Splits(*[TensorDataset(x, data.train.tensors[1])] * 3))
    loop.train(task, model, task.splits().train, task.training, teacher=copy.deepcopy(model))
    assert model.stem.weight.is_contiguous()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]), lay


def test_batches_lie_channels_last_where_that_helps_and_the_network_learns_the_same(monkeypatch):
    (plain, before), (laid_out, now) = (trained(TinyNet, monkeypatch, helps) for helps in (False, True))
    assert not any(before) and all(now)
    assert torch.allclose(plain, laid_out, atol=1e-3)


def test_a_network_that_does_not_bear_it_trains_as_it_would_have(monkeypatch):
    (plain, _), (tried, lay) = (trained(Viewing, monkeypatch, helps) for helps in (False, True))
    assert torch.equal(plain, tried) and not all(lay)


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [("cuda", "bf16", True), ("cuda:1", "fp16", True), ("cuda", "fp32", False), ("cpu", "bf16", False)],
)
def test_it_is_known_to_help_on_tensor_cores(device, precision, expected):
    assert layout.helps(torch.device(device), precision) is expected

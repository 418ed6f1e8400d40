import torch
from torch import nn

from autoprune.measure import measure


def test_macs_are_those_that_the_layers_execute():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 16, 10))
    assert measure.macs(model, torch.zeros(1, 3, 4, 4)) == 16 * 8 * 3 * 9 + 8 * 16 * 10


def test_zeros_count_as_macs_but_not_as_parameters():
    model = nn.Linear(10, 10, bias=False)
    with torch.no_grad():
        model.weight[:5] = 0
    assert measure.macs(model, torch.zeros(1, 10)) == 100
    assert measure.parameters(model) == 50


def test_a_sparse_network_weighs_fewer_bytes():
    torch.manual_seed(0)
    model = nn.Linear(100, 100)
    dense = measure.compressed_bytes(model)
    with torch.no_grad():
        model.weight[torch.rand(100, 100) < 0.9] = 0
    assert measure.compressed_bytes(model) < 0.3 * dense


def test_latency_is_a_positive_number_of_milliseconds():
    assert 0 < measure.latency_ms(nn.Linear(10, 10), torch.zeros(1, 10), runs=5, warmup=1) < 1000


def test_attention_that_runs_fused_is_counted_too():
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    tokens, width = 5, 8
    projections, products = 4 * tokens * width * width, 2 * tokens * tokens * width
    assert measure.macs(Model(), torch.zeros(1, tokens, width)) == projections + products

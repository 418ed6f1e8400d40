"""PyTorch's own transformers with a padding mask, which is copied for each head."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from autoprune.prune.find import find_groups
from autoprune.prune.outputs import relative_difference
from autoprune.prune.proof import half
from autoprune.prune.random_values import randomise
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels

IDS = torch.tensor([[3, 7, 12, 5, 9, 4], [8, 2, 6, 0, 0, 0]])


class Encoder(nn.Module):
    """A classifier over the mean of all tokens, those of the padding too."""

    def __init__(self, nested: bool, **more: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(16, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, **more)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
        self.head = nn.Linear(32, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(ids), src_key_padding_mask=ids == 0).mean(1))


class Translator(nn.Module):
    """Encoder and decoder, whose cross-attention cuts queries from keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(16, 32)
        self.transformer = nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
        self.head = nn.Linear(32, 16)

    def forward(self, ids: Tensor) -> Tensor:
        x, padding = self.embed(ids), ids == 0
        causal = nn.Transformer.generate_square_subsequent_mask(ids.shape[1]).to(x)
        said = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding, "tgt_key_padding_mask": padding}
        return self.head(self.transformer(x, x.flip(1), tgt_mask=causal, **said))


MODELS = {
    "nested": lambda: Encoder(True),
    "padded": lambda: Encoder(False),
    "norm first": lambda: Encoder(False, norm_first=True),
    "translator": Translator,
}


@pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors", "ignore:enable_nested_tensor", "ignore:Support for"
)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_heads_go_where_a_padding_mask_is_copied_for_each(name: str) -> None:
    torch.manual_seed(0)
    model = randomise(MODELS[name]()).eval()
    groups = find_groups(model, IDS)
    attentions = {key for key, layer in model.named_modules() if isinstance(layer, nn.MultiheadAttention)}
    assert attentions <= {group.name for group in groups if group.channels == 4}, groups.left_alone

    removed = {group.name: half(group) for group in groups}
    smaller = remove_channels(model, IDS, groups, removed)
    wanted = copy.deepcopy(model)  # its layers ignore what went: only the columns that read it are zero
    for group in groups:
        for part in (part for part in group.slices if part.role == "in"):
            columns = torch.isin(part.unit, torch.tensor(removed[group.name], dtype=part.unit.dtype))
            wanted.get_parameter(part.parameter).index_fill_(part.dim, columns.nonzero().flatten(), 0.0)
    for mode in (False, True):
        networks = [network.train(mode) for network in (smaller, wanted, model)]
        for network in networks:
            for layer in network.modules():
                if isinstance(layer, nn.Dropout | nn.MultiheadAttention):
                    layer.p = layer.dropout = 0.0
        small, same, dense = (network(IDS) for network in networks)
        assert relative_difference([small], [same]) < 1e-5
        assert relative_difference([small], [dense]) > 1e-3
    again = rebuild(MODELS[name](), smaller.state_dict())
    assert torch.equal(again(IDS), smaller.eval()(IDS))
    with torch.enable_grad():
        again.train()(IDS).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in again.parameters())


def test_a_mask_of_its_own_for_each_head_keeps_the_heads() -> None:
    class Sloped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            slopes = torch.arange(4.0).view(1, 4, 1, 1) * torch.arange(6.0)
            mask = slopes.expand(len(x), 4, 6, 6).reshape(-1, 6, 6)
            return self.attention(x, x, x, attn_mask=mask)[0]

    groups = find_groups(Sloped(), torch.randn(2, 6, 32))
    assert not len(groups)
    assert "constant of fixed size" in groups.left_alone["attention"]

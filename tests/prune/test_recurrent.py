"""Recurrent layers lose hidden units: the smaller layer is the dense one, step by step, with those units at zero."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autoprune.measure.measure import macs
from autoprune.prune.find import find_groups
from autoprune.prune.proof import equivalence_error, half
from autoprune.prune.random_values import randomise
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels


class Tagger(nn.Module):
    """Words, a recurrent layer, and a linear layer on each step or on the last state."""

    def __init__(self, kind: type[nn.RNNBase], last: bool = False, **options) -> None:
        super().__init__()
        directions = 1 + options.get("bidirectional", False)
        self.words, self.rnn = nn.Embedding(30, 10), kind(10, 12, batch_first=True, **options)
        width = options.get("proj_size") or 12
        self.hidden, self.head, self.last = nn.Linear(directions * width, 14), nn.Linear(14, 3), last

    def forward(self, x: Tensor) -> Tensor:
        steps, state = self.rnn(self.words(x))
        if self.last:
            state = state[0] if isinstance(state, tuple) else state
            steps = state.transpose(0, 1)[:, -1]
        return self.head(self.hidden(steps).relu())


@torch.no_grad()
def stepwise(model: Tagger, x: Tensor, gone: Tensor) -> Tensor:
    """Return what the dense model gives if these hidden units are set to zero after every step, by cells of its own."""
    rnn = model.rnn
    cell_of = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[type(rnn)]
    inputs = model.words(x)
    for layer in range(rnn.num_layers):
        found = []
        for direction in range(1 + rnn.bidirectional):
            suffix = f"_l{layer}" + "_reverse" * direction
            cell = cell_of(inputs.shape[-1], rnn.hidden_size).double()
            cell.load_state_dict({name: getattr(rnn, name + suffix) for name in cell.state_dict()})
            state = torch.zeros(len(x), rnn.hidden_size, dtype=torch.float64)
            state = (state, state) if cell_of is nn.LSTMCell else state
            steps = []
            for step in range(x.shape[1]) if not direction else reversed(range(x.shape[1])):
                state = cell(inputs[:, step], state)
                state = tuple(part * ~gone for part in state) if isinstance(state, tuple) else state * ~gone
                steps.append(state[0] if isinstance(state, tuple) else state)
            found.append(torch.stack(steps[::-1] if direction else steps, 1))
        inputs = torch.cat(found, -1)
    return model.head(model.hidden(inputs).relu())


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_hidden_units_go_from_all_layers_and_directions(kind, options: dict) -> None:
    torch.manual_seed(0)
    model, words = randomise(Tagger(kind, **options)).eval(), torch.randint(30, (2, 6))
    groups = find_groups(model, words)
    found = {group.producers[0]: group.channels for group in groups}
    assert found == {"words": 10, "rnn": 12, "hidden": 14}
    hidden = next(group for group in groups if group.producers[0] == "rnn")
    gone = torch.zeros(12, dtype=torch.bool)
    gone[half(hidden)] = True

    model = model.double()
    smaller = remove_channels(model, words, groups, {hidden.name: half(hidden)})
    assert smaller.rnn.hidden_size == 6
    assert smaller.rnn.weight_hh_l0.shape[1] == 6
    if options.get("bias", True):
        assert (smaller(words) - stepwise(model, words, gone)).abs().max() < 1e-12

    removed = {group.name: half(group) for group in groups}
    assert equivalence_error(model, words, groups, removed) < 1e-9
    smaller = remove_channels(model, words, groups, removed)
    again = rebuild(Tagger(kind, **options).double(), smaller.state_dict())
    assert torch.equal(again(words), smaller(words))
    smaller.train()(words).sum().backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())


def test_the_last_state_and_a_projected_state_are_followed() -> None:
    torch.manual_seed(0)
    words = torch.randint(30, (2, 6))
    for model in (Tagger(nn.GRU, last=True), Tagger(nn.LSTM, last=True), Tagger(nn.LSTM, proj_size=8)):
        randomise(model).eval()
        groups = find_groups(model, words)
        assert {group.producers[0] for group in groups} == {"words", "rnn", "hidden"}
        assert equivalence_error(model, words, groups, {group.name: half(group) for group in groups}) < 1e-9


def test_a_state_of_ones_own_keeps_the_hidden_units() -> None:
    class Given(Tagger):
        def forward(self, x: Tensor) -> Tensor:
            steps, _ = self.rnn(self.words(x), torch.zeros(1, len(x), 12))
            return self.head(self.hidden(steps).relu())

    groups = find_groups(randomise(Given(nn.GRU)).eval(), torch.randint(30, (2, 6)))
    assert {group.producers[0] for group in groups} == {"words", "hidden"}
    assert any(name.startswith("rnn") for name in groups.left_alone)


def test_the_products_of_a_recurrent_layer_are_counted() -> None:
    model, words = Tagger(nn.LSTM).eval(), torch.randint(30, (1, 6))
    enabled = torch.backends.mkldnn.enabled
    assert macs(model, words) == 6 * (48 * (10 + 12) + 12 * 14 + 14 * 3)
    assert torch.backends.mkldnn.enabled == enabled

"""Every parameter is in a group or in left_alone, and the reason given is the true one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models as tv
from models import CASES
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from autoprune.prune.find import find_groups
from autoprune.prune.groups import Groups
from autoprune.report.groups import left_alone_lines
from autoprune.task.accepted import accepted


def accounted(model: nn.Module, groups: Groups) -> tuple[int, int]:
    """Return the numbers that are in a group or left alone, by their own name or their layer's, and all."""
    inside = {part.parameter for group in groups for part in group.slices}
    told = inside | groups.left_alone.keys()
    found = [p.numel() for name, p in model.named_parameters() if {name, name.rpartition(".")[0]} & told]
    return sum(found), sum(p.numel() for p in model.parameters())


def reasons_of(layer: str, groups: Groups) -> list[str]:
    """Return why a layer is left alone, and the layer that it goes with, and so on."""
    why = groups.left_alone[layer]
    with_layer = why.removeprefix("it goes with ")
    return [why] if with_layer == why else [why, *reasons_of(with_layer, groups)]


def recurrent(kind: type[nn.Module], **options: Any) -> nn.Module:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.rnn = nn.Linear(5, 16), kind(16, 12, batch_first=True, **options)
            self.b, self.c = nn.LazyLinear(24), nn.Linear(24, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.rnn(self.a(x))[0][:, -1]).relu())

    model = Recurrent()
    model(torch.randn(2, 6, 5))
    return model


class Bare(nn.Module):
    """Bare parameters of all kinds, one of them unused."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.unused_layer = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(3, 4)
        self.matrix, self.gain = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.ones(8))
        self.number, self.zero_dim = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(()))
        self.inputs, self.outputs = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(3))
        self.unused = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        hidden = (self.a(x * self.inputs) * self.gain * self.number).relu() @ self.matrix
        return self.b(hidden) * self.zero_dim + self.outputs


class Tokens(nn.Module):
    """Tokens are averaged, so it is not the mean that keeps the stream: it is the LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.first, self.norm = nn.Linear(4, 8), nn.Parameter(torch.randn(1, 1, 8)), nn.LayerNorm(8)
        self.up, self.down, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.first.expand(len(x), 1, 8), self.embed(x)], 1)
        pooled = x.mean(1)
        x = x + self.down(self.up(self.norm(x)).relu())
        return self.head(x.mean(1) + pooled)


class Root(nn.Module):
    """An RMS norm on what is then the output, and a gate of several channels that are averaged into one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.gate, self.out = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.out(self.a(x) * self.gate(x).mean(-1, keepdim=True).sigmoid())
        return y * y.square().mean(-1, keepdim=True).rsqrt()


class Inside(nn.Module):
    """Another network between layers of its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.stem, self.inner, self.middle, self.head = nn.Conv2d(3, 3, 1), inner, nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.inner(self.stem(x))).relu())


def inner() -> nn.Module:
    body = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(96, 4)).eval()


def masked() -> nn.Module:
    model = inner()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(Inside(inner()).eval(), {nn.Linear})


def squeezebert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.SqueezeBertConfig(**sizes, intermediate_size=64, embedding_size=32)
    return transformers.SqueezeBertForSequenceClassification(config)


def mixtral() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "num_local_experts": 4, "intermediate_size": 64}
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**sizes, **more))


IMAGE, SEQUENCE, ROW = torch.randn(1, 3, 6, 6), torch.randn(2, 6, 5), torch.randn(2, 4)
IDS = torch.randint(50, (2, 9))
UNKNOWN, OUTPUT = "which is not understood", "it is the model's output"
MODELS: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, str]]] = {
    **{
        name: (case.build, case.example, {})
        for name, case in CASES.items()
        if name not in ("resnet50", "inception", "vgg")
    },
    "googlenet, as in training": (
        lambda: tv.googlenet(aux_logits=True, init_weights=False),
        torch.randn(1, 3, 32, 32),
        {},
    ),
    "squeezebert": (squeezebert, IDS, {"transformer.encoder.layers.0.attention.query": "it goes with"}),
    "mixtral": (mixtral, IDS, {"model.layers.0.mlp.gate": "the largest of its channels are chosen"}),
    "lstm": (lambda: recurrent(nn.LSTM, num_layers=2, bidirectional=True), SEQUENCE, {"rnn": UNKNOWN, "a": UNKNOWN}),
    "gru": (lambda: recurrent(nn.GRU), SEQUENCE, {"rnn": UNKNOWN}),
    "bare": (
        Bare,
        ROW,
        {
            "unused": "the run did not use it",
            "unused_layer": "the run did not use it",
            "number": "it is a single channel that others are combined with",
            "outputs": "it goes with b",
            "inputs": "it is combined with a constant of fixed size",
        },
    ),
    "tokens": (Tokens, torch.randn(2, 5, 4), {"embed": "a LayerNorm spans", "norm": "it goes with embed"}),
    "root": (Root, ROW, {"gate": "a mean over its channels", "out": OUTPUT}),
    "masked": (masked, IMAGE, {}),
    "traced": (lambda: torch.jit.trace(inner(), IMAGE), IMAGE, {"0": "it is compiled by torch.jit"}),
    "scripted inside": (lambda: Inside(torch.jit.script(inner())), IMAGE, {"inner.3": "it is compiled by torch.jit"}),
    "quantised": (quantised, IMAGE, {"middle": "its weights are quantised", "inner.3": UNKNOWN}),
    "parametrised": (
        lambda: Inside(nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 6)), nn.Flatten())),
        IMAGE,
        {"inner.0.parametrizations.weight": UNKNOWN, "inner.0": "it is read by convolution", "head": OUTPUT},
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_is_in_a_group_or_left_alone_with_its_reason(name: str) -> None:
    build, example, reasons = MODELS[name]
    if name in ("bert", "gpt2", "llama"):
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = build()
    groups = find_groups(model, example() if callable(example) else example, verify=name not in CASES)
    found, total = accounted(accepted(model), groups)
    assert found == total
    for layer, why in reasons.items():
        assert any(why in each for each in reasons_of(layer, groups)), groups.left_alone


def test_what_goes_with_a_refused_group_is_told_too() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.norm(self.a(x)).view(-1, 64))

    groups = find_groups(Fixed(), IMAGE)
    assert groups.left_alone["a"].startswith("its removal fails")
    assert groups.left_alone["norm"] == "it goes with a"
    lines = left_alone_lines(groups)
    assert lines[0] == "left alone: b: it is the model's output"
    assert lines[1].startswith("left alone: a (with norm): its removal fails")
    assert len(lines) == 2

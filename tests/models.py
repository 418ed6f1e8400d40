"""Small networks, one of each family, for the tests of removal. All have random weights and randomised norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import maxvit, swin_transformer
from torchvision.models.densenet import DenseNet
from torchvision.models.vision_transformer import VisionTransformer

from autoprune.task.models.lenet import LeNet5
from autoprune.task.models.resnet import ResNet


class UNet(nn.Module):
    """Two levels down and up again, with concat skips and transposed convolutions (Ronneberger et al. 2015)."""

    def __init__(self, width: int = 16, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for i in (inputs, outputs):
                layers += [nn.Conv2d(i, outputs, 3, padding=1), norm(outputs), nn.ReLU()]
            return nn.Sequential(*layers)

        self.down1, self.down2 = double(3, width), double(width, 2 * width)
        self.bottom = double(2 * width, 4 * width)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.join2, self.join1 = double(4 * width, 2 * width), double(2 * width, width)
        self.out = nn.Conv2d(width, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.up2(self.bottom(F.max_pool2d(second, 2)))
        x = self.up1(self.join2(torch.cat([second, x], 1)))
        return self.out(self.join1(torch.cat([first, x], 1)))


class Transformer(nn.Module):
    """PyTorch's own encoder, with need_weights at its default in one more attention layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(12, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.MultiheadAttention(32, 4)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(self.embed(x)).transpose(0, 1)
        return self.head((x + self.last(x, x, x)[0]).mean(0))


class GatedMLP(nn.Module):
    """A bare parameter as a matrix, a gated unit cut into two equal pieces, and a head-wise attention of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(12, 32) / 4)
        self.gate = nn.Linear(32, 48)
        self.middle = nn.Linear(24, 32)
        self.num_heads = 4
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.gate((x @ self.first).relu()).chunk(2, -1)
        x = self.middle(a * b.sigmoid())
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Case(NamedTuple):
    """A model, its example input, and how many groups it has at least."""

    build: Callable[[], nn.Module]
    example: Callable[[], Any]
    groups: int


def image(size: int, channels: int = 3) -> Callable[[], Tensor]:
    return lambda: torch.randn(1, channels, size, size)


def _vgg() -> nn.Module:
    return nn.Sequential(tv.vgg11_bn(num_classes=10).features, nn.Flatten(), nn.Linear(512, 10))


def _vit() -> nn.Module:
    return VisionTransformer(32, 8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10)


def _swin(version: int) -> nn.Module:
    more = {}
    if version == 2:
        more = {"block": swin_transformer.SwinTransformerBlockV2, "downsample_layer": swin_transformer.PatchMergingV2}
    return swin_transformer.SwinTransformer([4, 4], 32, [2, 2], [4, 8], [4, 4], num_classes=10, **more)


def _maxvit() -> nn.Module:
    return maxvit.MaxVit((32, 32), 16, 4, [16, 32], [1, 1], 8, 0.0, num_classes=10)


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            vocab_size=50,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=16,
        )
    )


def _tokens() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(50, (2, 9)), "attention_mask": torch.arange(9).expand(2, 9) < 7}


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    more = {"bos_token_id": None, "eos_token_id": None, "use_cache": False}
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4, **more))


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, num_hidden_layers=2, use_cache=False, **sizes))


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(8, channels)


CASES = {
    "lenet": Case(LeNet5, image(28, 1), 3),
    "resnet20": Case(ResNet, image(32), 12),
    "resnet18": Case(tv.resnet18, image(32), 12),
    "resnet50": Case(lambda: tv.ResNet(tv.resnet.Bottleneck, [1, 1, 1, 1], 10), image(32), 13),
    "vgg": Case(_vgg, image(32), 8),
    "mobilenet_v2": Case(tv.mobilenet_v2, image(32), 25),
    "mobilenet_v3": Case(tv.mobilenet_v3_small, image(32), 27),
    "densenet": Case(lambda: DenseNet(8, (3, 3), 16, num_classes=10), image(32), 14),
    "efficientnet": Case(tv.efficientnet_b0, image(32), 40),
    "convnext": Case(lambda: tv.ConvNeXt(_convnext_setting(), num_classes=10), image(32), 3),
    "shufflenet": Case(tv.shufflenet_v2_x0_5, image(32), 20),
    "regnet_y": Case(tv.regnet_y_400mf, image(32), 37),
    "resnext": Case(lambda: _resnext(), image(32), 9),
    "googlenet": Case(lambda: tv.googlenet(aux_logits=False, init_weights=False), image(32), 57),
    "inception": Case(lambda: tv.inception_v3(aux_logits=False, init_weights=False), image(75), 94),
    "mnasnet": Case(tv.mnasnet0_5, image(32), 25),
    "squeezenet": Case(tv.squeezenet1_1, image(32), 25),
    "unet": Case(UNet, image(16), 12),
    "unet_group_norm": Case(lambda: UNet(norm=_group_norm), image(16), 12),
    "vit": Case(_vit, image(32), 4),
    "swin": Case(lambda: _swin(1), image(32), 8),
    "swin_v2": Case(lambda: _swin(2), image(32), 12),
    "maxvit": Case(_maxvit, image(32), 12),
    "bert": Case(_bert, _tokens, 4),
    "gpt2": Case(_gpt2, _tokens, 4),
    "llama": Case(_llama, _tokens, 4),
    "transformer": Case(Transformer, lambda: torch.randn(2, 6, 12), 5),
    "gated_mlp": Case(GatedMLP, lambda: torch.randn(2, 6, 12), 4),
}


def _convnext_setting() -> list:
    from torchvision.models.convnext import CNBlockConfig

    return [CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 1)]


def _resnext() -> nn.Module:
    return tv.ResNet(tv.resnet.Bottleneck, [1, 1, 1, 1], 10, groups=32, width_per_group=4)

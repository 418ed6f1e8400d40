"""The models of the zoo: their names by table, and how each is built with random weights and an example."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAMILIES = Path(__file__).parent / "zoo_timm.json"
SIDES = {"maxvit_t": 224, "inception_v3": 96, "vit_h_14": 56, "alexnet": 96}
"""Of the images of torchvision's models that need other than 64 pixels."""

TRANSFORMERS = [  # fmt: skip
    "albert",
    "bart",
    "bert",
    "bigbird_pegasus",
    "big_bird",
    "blenderbot",
    "blenderbot-small",
    "bloom",
    "camembert",
    "canine",
    "codegen",
    "cohere",
    "convbert",
    "convnext",
    "convnextv2",
    "ctrl",
    "deberta",
    "deberta-v2",
    "deit",
    "distilbert",
    "electra",
    "ernie",
    "falcon",
    "fnet",
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gptj",
    "granite",
    "ibert",
    "llama",
    "longformer",
    "marian",
    "mbart",
    "mistral",
    "mixtral",
    "mobilebert",
    "modernbert",
    "mpnet",
    "mpt",
    "nystromformer",
    "olmo",
    "olmo2",
    "opt",
    "pegasus",
    "phi",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "roberta",
    "roformer",
    "segformer",
    "smollm3",
    "squeezebert",
    "stablelm",
    "starcoder2",
    "swin",
    "t5",
    "vit",
    "xglm",
    "xlm-roberta",
    "xlnet",
    "mamba",
]

SMALL = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "embed_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "n_inner", "d_ff", "ffn_dim", "hidden_dim", "d_inner"), 128),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size", "moe_intermediate_size"), 128),
    **{"num_key_value_heads": 2, "vocab_size": 99, "head_dim": 16, "max_position_embeddings": 64, "d_kv": 16},
    **{
        "n_positions": 64,
        "rotary_dim": 8,
        "num_local_experts": 4,
        "num_experts": 4,
        "shared_expert_intermediate_size": 64,
    },
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "layer_types": None, "expert_interval": 1},
}
"""What attributes of a configuration are set to, where it has them."""


def torchvision() -> list[str]:
    import torchvision.models as tv

    return [name for module in (tv, tv.segmentation, tv.detection) for name in tv.list_models(module=module)]


def timm() -> list[str]:
    return list(json.loads(FAMILIES.read_text()).values())


def transformers() -> list[str]:
    return list(TRANSFORMERS)


def recurrent() -> list[str]:
    kinds = [f"{kind}{suffix}" for kind in ("lstm", "gru", "rnn") for suffix in ("", "_2", "_bidirectional")]
    return [*kinds, "lstm_2_bidirectional", "lstm_projected"]


TABLES: dict[str, Callable[[], list[str]]] = {
    "torchvision": torchvision,
    "timm": timm,
    "transformers": transformers,
    "recurrent": recurrent,
}


def build(name: str) -> tuple[Any, Any, int | str]:
    """Return the model ``TABLE:MODEL``, its example input, and the side of the image or the length of the text."""
    table, _, model = name.partition(":")
    return {
        "torchvision": build_torchvision,
        "timm": build_timm,
        "transformers": build_transformers,
        "recurrent": build_recurrent,
    }[table](model)


def choose_families() -> None:
    """Write down the smallest model of each of timm's families."""
    import timm
    import torch

    families: dict[str, list[tuple[int, str]]] = {}
    for name in timm.list_models():
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
        families.setdefault(re.match("[a-z]+", name)[0], []).append((size, name))
    chosen = {family: min(models)[1] for family, models in sorted(families.items())}
    FAMILIES.write_text(json.dumps(chosen, indent=0))


def build_torchvision(name: str) -> tuple[Any, Any, int]:
    import torch
    import torchvision.models as tv

    more: dict[str, Any] = {}
    side = SIDES.get(name, 64)
    if name in ("googlenet", "inception_v3"):
        more = {"aux_logits": False, "init_weights": False}
    elif name.startswith("vit"):
        more = {"image_size": side}
    elif name in tv.list_models(module=tv.segmentation):
        more = {"weights_backbone": None}
    elif name in tv.list_models(module=tv.detection):
        side = 320 if "320" in name else 300 if name.startswith("ssd") else 128
        more = {"weights_backbone": None, "num_classes": 5}
        if "320" not in name and "300" not in name:
            more |= {"min_size": side, "max_size": side}
        return tv.get_model(name, weights=None, **more), ([torch.rand(3, side, side)],), side
    return tv.get_model(name, weights=None, **more), torch.randn(1, 3, side, side), side


def build_timm(name: str) -> tuple[Any, Any, int]:
    import timm
    import torch

    for side in (64, 96, 128, 224, 256, 384, 448):
        for options in ({"img_size": side}, {}):
            try:
                model, example = timm.create_model(name, **options).eval(), torch.randn(1, 3, side, side)
                with torch.no_grad():
                    model(example)
                return model, example, side
            except Exception as error:  # an image that is too small, or an option that the model does not know
                last = error
    raise last


def build_transformers(name: str) -> tuple[Any, Any, str | int]:
    import torch
    import transformers as hf

    default = hf.AutoConfig.for_model(name)
    text = hasattr(default, "vocab_size")
    config = hf.AutoConfig.for_model(
        name, **{key: value for key, value in SMALL.items() if text and hasattr(default, key)}
    )
    kinds = (hf.AutoModelForCausalLM, hf.AutoModelForMaskedLM, hf.AutoModelForImageClassification, hf.AutoModel)
    if getattr(config, "is_encoder_decoder", False):
        kinds = (hf.AutoModel,)
    kind = next(kind for kind in kinds if type(config) in kind._model_mapping)
    config.use_cache = False
    model = kind.from_config(config, attn_implementation="eager").eval()
    if not text:
        return model, torch.randn(1, 3, 64, 64), 64
    ids = torch.randint(3, 90, (1, 16))
    if getattr(config, "is_encoder_decoder", False):
        return model, {"input_ids": ids, "decoder_input_ids": ids[:, :8].clone()}, "16"
    return model, {"input_ids": ids}, "16"


def build_recurrent(name: str) -> tuple[Any, Any, str]:
    import torch
    from torch import nn

    class Tagger(nn.Module):
        """Words, a recurrent layer and two linear ones."""

        def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
            super().__init__()
            self.words, self.recurrent = nn.Embedding(500, 64), kind(64, 128, batch_first=True, **options)
            width = options.get("proj_size", 128) * (1 + options.get("bidirectional", False))
            self.hidden, self.head = nn.Linear(width, 64), nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.hidden(self.recurrent(self.words(x))[0]).relu())

    options: dict[str, Any] = {"bidirectional": True} if "bidirectional" in name else {}
    options |= {"num_layers": 2} if "_2" in name else {}
    options |= {"proj_size": 64} if "projected" in name else {}
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[name.partition("_")[0]]
    return Tagger(kind, **options), torch.randint(500, (1, 16)), "16"

"""Small networks of Hugging Face's architectures, each by a configuration of two layers.

``python tests/language_models.py`` prints what goes of each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoprune.prune.blocks import find_blocks
from autoprune.prune.find import find_groups
from autoprune.prune.groups import Groups

ENCODER = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4} | {
    "intermediate_size": 64,
    "max_position_embeddings": 32,
}
DECODER = ENCODER | {"use_cache": False, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
GROUPED = DECODER | {"num_key_value_heads": 2}
EXPERTS = GROUPED | {"num_experts_per_tok": 2}

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3ForCausalLM", GROUPED | {"head_dim": 8}),
    "llama": ("LlamaForCausalLM", GROUPED),
    "llama_one_key": ("LlamaForCausalLM", DECODER | {"num_key_value_heads": 1}),
    "phi3": ("Phi3ForCausalLM", GROUPED),
    "mixtral": ("MixtralForCausalLM", EXPERTS | {"num_local_experts": 4}),
    "qwen2_moe": (
        "Qwen2MoeForCausalLM",
        EXPERTS | {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24},
    ),
    "qwen3_moe": ("Qwen3MoeForCausalLM", EXPERTS | {"num_experts": 4, "moe_intermediate_size": 16, "head_dim": 8}),
    "olmoe": ("OlmoeForCausalLM", EXPERTS | {"num_experts": 4}),
    "gpt_oss": ("GptOssForCausalLM", EXPERTS | {"num_local_experts": 4, "head_dim": 8}),
    "granite_moe": ("GraniteMoeForCausalLM", EXPERTS | {"num_local_experts": 4}),
    "deepseek_v3": (
        "DeepseekV3ForCausalLM",
        EXPERTS
        | {"num_key_value_heads": 4, "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 16}
        | {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
        | {"first_k_dense_replace": 1},
    ),
    "bloom": ("BloomForCausalLM", {"vocab_size": 50, "hidden_size": 32, "n_layer": 2, "n_head": 4, "use_cache": False}),
    "falcon": ("FalconForCausalLM", DECODER | {"new_decoder_architecture": False, "multi_query": True}),
    "falcon_alibi": ("FalconForCausalLM", DECODER | {"multi_query": False, "alibi": True, "bias": True}),
    "falcon_grouped": ("FalconForCausalLM", DECODER | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "gpt_neox": ("GPTNeoXForCausalLM", DECODER),
    "gptj": ("GPTJForCausalLM", {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4}),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        {"vocab_size": 50, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]},
    ),
    "codegen": ("CodeGenForCausalLM", {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 8, "rotary_dim": 4}),
    "gpt_bigcode": (
        "GPTBigCodeForCausalLM",
        {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32, "use_cache": False},
    ),
    "opt": ("OPTForCausalLM", DECODER | {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "phi": ("PhiForCausalLM", DECODER),
    "gemma": ("GemmaForCausalLM", GROUPED | {"head_dim": 8}),
    "gemma2": ("Gemma2ForCausalLM", GROUPED | {"head_dim": 8}),
    "gemma3": ("Gemma3ForCausalLM", GROUPED | {"head_dim": 8}),
    "mistral": ("MistralForCausalLM", GROUPED),
    "qwen2": ("Qwen2ForCausalLM", GROUPED),
    "olmo2": ("Olmo2ForCausalLM", GROUPED),
    "starcoder2": ("Starcoder2ForCausalLM", GROUPED),
    "stablelm": ("StableLmForCausalLM", GROUPED),
    "cohere": ("CohereForCausalLM", GROUPED),
    "glm": ("GlmForCausalLM", GROUPED | {"head_dim": 8}),
    "granite": ("GraniteForCausalLM", GROUPED),
    "smollm3": ("SmolLM3ForCausalLM", GROUPED),
    "mpt": ("MptForCausalLM", {"vocab_size": 50, "d_model": 32, "n_layers": 2, "n_heads": 4, "use_cache": False}),
    "mamba": (
        "MambaForCausalLM",
        {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "use_cache": False},
    ),
    "mamba_cached": (
        "MambaForCausalLM",
        {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    ),
    "falcon_mamba": (
        "FalconMambaForCausalLM",
        {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "use_cache": False},
    ),
    "mamba2": (
        "Mamba2ForCausalLM",
        {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "use_cache": False}
        | {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
    ),
    "bert": ("BertForSequenceClassification", ENCODER),
    "roberta": ("RobertaForSequenceClassification", ENCODER | {"pad_token_id": 1}),
    "electra": ("ElectraForSequenceClassification", ENCODER | {"embedding_size": 32}),
    "distilbert": (
        "DistilBertForSequenceClassification",
        {"vocab_size": 50, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 32},
    ),
    "albert": ("AlbertForSequenceClassification", ENCODER | {"embedding_size": 16}),
    "mpnet": ("MPNetForSequenceClassification", ENCODER | {"pad_token_id": 1}),
    "modernbert": ("ModernBertForSequenceClassification", DECODER | {"cls_token_id": 0, "sep_token_id": 0}),
    "deberta": (
        "DebertaForSequenceClassification",
        ENCODER | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "deberta_v2": (
        "DebertaV2ForSequenceClassification",
        ENCODER
        | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "share_att_key": True}
        | {"position_buckets": 8, "norm_rel_ebd": "layer_norm"},
    ),
    "squeezebert": ("SqueezeBertForSequenceClassification", ENCODER | {"embedding_size": 32}),
    "xlnet": (
        "XLNetForSequenceClassification",
        {"vocab_size": 50, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    ),
    "t5": (
        "T5ForConditionalGeneration",
        {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "use_cache": False},
    ),
    "bart": (
        "BartForSequenceClassification",
        {"vocab_size": 50, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
        | {"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 32}
        | {"eos_token_id": 49, "use_cache": False},
    ),
    "vit": ("ViTForImageClassification", ENCODER | {"image_size": 16, "patch_size": 4}),
    "segformer": (
        "SegformerForSemanticSegmentation",
        {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 4, 8]}
        | {"decoder_hidden_size": 16},
    ),
}


def build(name: str) -> nn.Module:
    """Return a network with random weights."""
    import transformers

    model_class, sizes = CONFIGURATIONS[name]
    model = getattr(transformers, model_class)
    return model(model.config_class(**sizes)).eval()


def example(name: str) -> Any:
    """Return two sequences, the second of which is padded where the network is an encoder, or an image."""
    if name == "vit":
        return torch.randn(1, 3, 16, 16)
    if name == "segformer":
        return torch.randn(1, 3, 64, 64)
    ids = torch.randint(1, 49, (2, 9), generator=torch.Generator().manual_seed(0))
    if name == "t5":
        return {"input_ids": ids, "decoder_input_ids": ids[:, :5]}
    if name == "bart":
        ids[:, -1] = 49
    return {"input_ids": ids, "attention_mask": _padded(name, ids)}


def _padded(name: str, ids: Tensor) -> Tensor:
    mask = torch.ones_like(ids)
    if name == "bart":
        return mask
    mask[1, -2:] = 0
    return mask


def share(model: nn.Module, groups: Groups) -> float:
    """Return the share of single weights that lie in a group, of those beside embeddings and the output layer."""
    inside = total = 0
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("embed", "wte", "wpe", "lm_head")):
            continue
        reached = torch.zeros(parameter.shape, dtype=torch.bool)
        for group in groups:
            for part in group.slices:
                if part.parameter == name:
                    reached.index_fill_(part.dim, (part.unit >= 0).nonzero().flatten(), True)
        inside, total = inside + int(reached.sum()), total + parameter.numel()
    return inside / total


def main() -> None:
    """Print a table of what goes of each architecture."""
    for name in CONFIGURATIONS:
        torch.manual_seed(0)
        model, inputs = build(name), example(name)
        groups, blocks = find_groups(model, inputs), find_blocks(model, inputs)
        print(f"| {name} | {share(model, groups):.0%} | {len(groups)} | {len(blocks)} |", flush=True)


if __name__ == "__main__":
    main()

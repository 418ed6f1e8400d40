"""A tiny Llama on rows of counting numbers: a language model that is trained in a blink."""

import torch
from torch.utils.data import TensorDataset

from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

WORDS, LENGTH = 16, 10


def build(**other):
    """Return the network: grouped queries, gated units, RMS norms."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(**{"vocab_size": WORDS, "num_hidden_layers": 2, "use_cache": False} | sizes | other)
    return LlamaForCausalLM(config).eval()


def rows(count: int, seed: int) -> TensorDataset:
    """Return rows that count up from anywhere in steps of 1 or 2, and the same one further on."""
    generator = torch.Generator().manual_seed(seed)
    start, step = torch.randint(WORDS, (2, count, 1), generator=generator)
    ids = (start + (step % 2 + 1) * torch.arange(LENGTH + 1)) % WORDS
    return TensorDataset(ids[:, :-1], ids[:, 1:])


def make_task(model=build) -> Task:
    """Return the task."""
    return Task(
        name="tiny-llama",
        model=model,
        data=lambda: Splits(rows(64, 0), rows(32, 1), rows(32, 2)),
        example=rows(1, 3).tensors[0],
        training=Recipe(steps=40, batch_size=16, learning_rate=1e-2, optimizer="adamw"),
        recovery=Recipe(steps=6, batch_size=16, learning_rate=3e-3, optimizer="adamw"),
        supernet_steps=8,
        metric="perplexity",
    )

"""A text classifier: a Hugging Face encoder, the mean of its tokens, a linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class TextClassifier(nn.Module):
    """Classifies padded rows of token ids; the padding is masked inside, so that the ids are the only input.

    The mean over the tokens that are not padding is that of Sentence-BERT (Reimers & Gurevych 2019), as which MiniLM
    (Wang et al. 2020) was trained.

    Args:
        encoder: called as ``encoder(input_ids=..., attention_mask=...).last_hidden_state``, such as transformers'
            ``BertModel``; its ``config`` gives the width and the id of the padding.
        classes: number of classes.
        dropout: before the linear layer.
    """

    def __init__(self, encoder: nn.Module, classes: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.bert = encoder
        config: Any = encoder.config  # transformers'
        self.pad = config.pad_token_id or 0
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(config.hidden_size, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits, shape ``(N, classes)``, for token ids, shape ``(N, L)``, int64."""
        real = ids.ne(self.pad).to(self.head.weight.dtype)
        mask = (1 - real)[:, None, None, :] * torch.finfo(real.dtype).min  # added to the scores, (N, 1, 1, L)
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = real / real.sum(1, keepdim=True).clamp(min=1)
        return self.head(self.dropout((hidden * weights.unsqueeze(-1)).sum(1)))

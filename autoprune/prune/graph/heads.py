"""Attention that keeps its numbers of heads in attributes, or reads them in a configuration: fitted to fewer heads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

HEAD_COUNTS = ("num_heads", "n_heads", "n_head", "heads", "num_attention_heads", "nhead")
KEY_COUNTS = ("num_key_value_heads", "num_kv_heads", "kv_heads")
QUERIES = ("q", "query", "query_proj", "q_proj", "to_q", "q_lin")
KEYS = ("k", "key", "key_proj", "k_proj", "to_k", "k_lin")
FUSED = ("qkv", "to_qkv", "Wqkv", "in_proj", "c_attn", "qkv_proj", "query_key_value")
INNER_WIDTHS = ("all_head_size", "inner_dim", "attn_dim", "inner_size", "split_size")


def shrink_counts(layer: nn.Module) -> None:
    """Fit the attributes of ``layer`` to projections that lost heads; theirs are still those before the cut.

    A configuration by which a layer cuts its fused projection is copied first: other layers share it.
    """
    projection = _first(layer, FUSED) or _first(layer, QUERIES)
    old, new = _widths(projection)
    heads, keys = head_counts(layer)
    if not heads or old == new:
        return
    fused = projection is _first(layer, FUSED)
    pieces = heads + 2 * keys if fused else heads
    if fused and keys == 1 < heads and old % pieces == 0:  # the one key and value stay
        left, keys_left = new * pieces // old - 2, 1
    else:
        left, keys_left = round(heads * new / old), _keys_left(layer, keys, new / old)
    inner, inner_left = old * heads // pieces, old * left // pieces
    more = ("embed_dim",) if fused and keys < heads else ()  # by which GPT-BigCode cuts queries from the one key
    for name in (*INNER_WIDTHS, *more):
        if getattr(layer, name, None) == inner:
            setattr(layer, name, inner_left)
    if fused and not _counts(layer, HEAD_COUNTS):
        layer.config = copy.copy(layer.config)
        _set(layer.config, ("num_attention_heads",), left)
        _set(layer.config, ("num_key_value_heads",), keys_left)
    _set(layer, HEAD_COUNTS, left)
    _set(layer, KEY_COUNTS, keys_left)
    _set(layer, ("num_key_value_groups",), left // keys_left)


def head_counts(layer: nn.Module) -> tuple[int, int]:
    """Return how many heads ``layer`` has, and how many of them have keys of their own; zeros if it is no attention."""
    config = getattr(layer, "config", None)
    heads = _counts(layer, HEAD_COUNTS) or _counts(config, HEAD_COUNTS)
    keys = _counts(layer, KEY_COUNTS) or _counts(config, KEY_COUNTS) or heads
    return (heads[0], keys[0]) if heads else (0, 0)


def cuts_by_heads(layer: nn.Module) -> bool:
    """Whether ``layer`` cuts a fused projection at places that follow from its numbers of heads."""
    if isinstance(layer, nn.MultiheadAttention):
        return True
    heads, keys = head_counts(layer)
    return heads > 1 and keys < heads and _first(layer, FUSED) is not None


def _keys_left(layer: nn.Module, keys: int, share: float) -> int:
    old, new = _widths(_first(layer, KEYS))
    return round(keys * (new / old if old and not _first(layer, FUSED) else share))


def _first(layer: nn.Module, names: Sequence[str]) -> nn.Module | None:
    found = (getattr(layer, name, None) for name in names)
    return next((module for module in found if isinstance(module, nn.Module)), None)


def _widths(projection: nn.Module | None) -> tuple[int, int]:
    """Return the number of a projection's outputs before and after the cut; zeros for what is none."""
    if isinstance(projection, nn.Linear):
        return projection.out_features, len(projection.weight)
    before = getattr(projection, "nf", None)  # of GPT-2's linear layer, which has its weight the other way round
    if isinstance(before, int) and projection is not None:
        return before, projection.get_parameter("weight").shape[1]
    return 0, 0


def _counts(holder: Any, names: Sequence[str]) -> list[int]:
    values = (getattr(holder, name, None) for name in names)
    return [value for value in values if isinstance(value, int) and not isinstance(value, bool)]


def _set(holder: Any, names: Sequence[str], value: int) -> None:
    for name in names:
        if _counts(holder, [name]):
            setattr(holder, name, value)

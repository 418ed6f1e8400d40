"""Attention with fewer heads: layers whose forward() takes the number or the width of heads from the model's width.

A pruned layer keeps its class's parameters and their names; only its class changes, to one that reads the inner width
off its own weights. Attention that keeps head counts in attributes (Hugging Face, timm) has these set.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import maxvit, swin_transformer, vision_transformer

from autoprune.errors import TrialFailure
from autoprune.prune.graph.heads import shrink_counts
from autoprune.prune.graph.views import open_views


def shrink_heads(layer: nn.Module) -> None:
    """Fit ``layer`` to projections that lost heads; its attributes, and those of its projections, are still the old."""
    if isinstance(layer, nn.MultiheadAttention):
        inner = layer.out_proj.weight.shape[1]
        if inner != layer.num_heads * layer.head_dim or len(layer.out_proj.weight) != layer.embed_dim:
            if layer.bias_k is not None or layer.add_zero_attn:
                raise TrialFailure("attention heads with bias_k or add_zero_attn cannot be removed")
            layer.num_heads, layer.embed_dim = inner // layer.head_dim, len(layer.out_proj.weight)
            layer._qkv_same_embed_dim = False  # no fused kernel: it takes the model's width for the heads'
            layer.__class__ = FewerHeadsAttention
        return
    if isinstance(layer, vision_transformer.VisionTransformer):
        layer.hidden_dim = len(layer.conv_proj.weight)
        return
    if isinstance(layer, nn.TransformerEncoder):
        attentions = [part for part in layer.modules() if isinstance(part, nn.MultiheadAttention)]
        if any(part.out_proj.weight.shape[1] != part.num_heads * part.head_dim for part in attentions):
            layer.__class__ = FewerHeadsEncoder
        return
    if isinstance(layer, swin_transformer.ShiftedWindowAttention):
        width = layer.qkv.out_features // 3 // layer.num_heads
        if layer.qkv.weight.shape != (layer.qkv.out_features, layer.qkv.in_features):
            layer.num_heads = len(layer.qkv.weight) // 3 // width
            layer.__class__ = (
                FewerHeadsWindowAttentionV2
                if isinstance(layer, swin_transformer.ShiftedWindowAttentionV2)
                else FewerHeadsWindowAttention
            )
        return
    if isinstance(layer, maxvit.RelativePositionalMultiHeadAttention):
        heads = len(layer.to_qkv.weight) // 3 // layer.head_dim
        if heads != layer.n_heads or layer.to_qkv.weight.shape[1] != layer.to_qkv.in_features:
            layer.n_heads = heads
            layer.__class__ = FewerHeadsGridAttention
        return
    if shrink_counts(layer):
        open_views(layer)


class FewerHeadsAttention(nn.MultiheadAttention):
    """Multi-head attention whose heads are narrower, together, than the model (Michel et al. 2019)."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend as ``nn.MultiheadAttention`` does; shapes and masks are the same."""
        single = query.dim() == 2
        inputs = [
            t.unsqueeze(0) if single else t if self.batch_first else t.transpose(0, 1) for t in (query, key, value)
        ]
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        heads = [
            F.linear(x, weight, bias).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for x, weight, bias in zip(inputs, weights, biases, strict=True)
        ]
        mask = self._mask(attn_mask, key_padding_mask, heads[0])
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            scores = heads[0] @ heads[1].transpose(-2, -1) / math.sqrt(self.head_dim)
            scores = (scores if mask is None else scores + mask).softmax(-1)
            out = F.dropout(scores, dropout, self.training) @ heads[2]
        else:
            scores = None
            query, key, value = heads
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if scores is not None and average_attn_weights:
            scores = scores.mean(1)
        if single:
            return out.squeeze(0), None if scores is None else scores.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), scores

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, query: Tensor) -> Tensor | None:
        """Return what to add to the scores, shape broadcastable to ``(batch, heads, queries, keys)``."""
        mask = None if attn_mask is None else self._added(attn_mask, query)
        if mask is not None and mask.dim() == 3:
            mask = mask.view(len(query), -1, *mask.shape[1:])
            if mask.shape[1] not in (1, self.num_heads):
                raise TrialFailure("an attention mask for each head does not fit fewer heads")
        if padding is None:
            return mask
        extra = self._added(padding, query).view(-1, 1, 1, padding.shape[-1])
        return extra if mask is None else mask + extra

    @staticmethod
    def _added(mask: Tensor, like: Tensor) -> Tensor:
        if mask.dtype == torch.bool:
            return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -math.inf)
        return mask.to(like.dtype)


class FewerHeadsEncoder(nn.TransformerEncoder):
    """PyTorch's encoder with such attention, which takes no nested tensors."""

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Pass ``src`` through the layers; where the dense encoder would use nested tensors, padding becomes zero."""
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        if mask is None and src_key_padding_mask is not None and self._would_nest(src, src_key_padding_mask != 0):
            x = x.masked_fill((src_key_padding_mask != 0).unsqueeze(-1), 0.0)  # True, or minus infinity
        return x if self.norm is None else self.norm(x)

    def _would_nest(self, src: Tensor, padding: Tensor) -> bool:
        learns = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.layers[0].parameters())
        if not self.use_nested_tensor or self.training or learns or src.dim() != 3 or torch.is_autocast_enabled():
            return False
        if not torch.backends.mha.get_fastpath_enabled():
            return False
        return not self.mask_check or torch._nested_tensor_from_mask_left_aligned(src, padding.logical_not())


class FewerHeadsWindowAttention(swin_transformer.ShiftedWindowAttention):
    """Swin's window attention (Liu et al. 2021) whose heads are narrower, together, than the model."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend within shifted windows: ``(B, H, W, C)`` to the same."""
        return self.attend(x, self.qkv.bias, None)

    def attend(self, x: Tensor, bias: Tensor | None, logit_scale: Tensor | None) -> Tensor:
        """Do what torchvision's ``shifted_window_attention`` does, with the heads' width taken from the weights."""
        batch, height, width, channels = x.shape
        rows, columns = self.window_size
        x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        high, wide = x.shape[1:3]
        shift = [0 if rows >= high else self.shift_size[0], 0 if columns >= wide else self.shift_size[1]]
        if sum(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        windows, size = (high // rows) * (wide // columns), rows * columns
        x = x.view(batch, high // rows, rows, wide // columns, columns, channels)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch * windows, size, channels)

        qkv = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        if logit_scale is None:
            scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
        else:
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
            scores = scores * logit_scale.clamp(max=math.log(100.0)).exp()
        scores = scores + self.get_relative_position_bias()
        if sum(shift):
            mask = self._shift_mask(high, wide, shift, x)
            scores = scores.view(batch, windows, -1, size, size) + mask.view(1, windows, 1, size, size)
            scores = scores.view(batch * windows, -1, size, size)
        scores = F.dropout(scores.softmax(-1), self.attention_dropout, self.training)

        x = self.proj((scores @ v).transpose(1, 2).flatten(2))
        x = F.dropout(x, self.dropout, self.training)
        x = x.view(batch, high // rows, wide // columns, rows, columns, channels)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, high, wide, channels)
        if sum(shift):
            x = torch.roll(x, tuple(shift), (1, 2))
        return x[:, :height, :width].contiguous()

    def _shift_mask(self, high: int, wide: int, shift: list[int], like: Tensor) -> Tensor:
        """Keep tokens that the shift brought together from far apart from seeing each other."""
        regions = like.new_zeros((high, wide))
        count = 0
        for top, bottom in ((0, -self.window_size[0]), (-self.window_size[0], -shift[0]), (-shift[0], None)):
            for left, right in ((0, -self.window_size[1]), (-self.window_size[1], -shift[1]), (-shift[1], None)):
                regions[top:bottom, left:right] = count
                count += 1
        rows, columns = self.window_size
        regions = regions.view(high // rows, rows, wide // columns, columns).permute(0, 2, 1, 3)
        regions = regions.reshape(-1, rows * columns)
        return (regions.unsqueeze(1) != regions.unsqueeze(2)).to(like.dtype) * -100.0


class FewerHeadsWindowAttentionV2(FewerHeadsWindowAttention, swin_transformer.ShiftedWindowAttentionV2):
    """The same for Swin V2: cosine attention, and keys without a bias."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend within shifted windows: ``(B, H, W, C)`` to the same."""
        bias = self.qkv.bias
        if bias is not None:
            third = len(bias) // 3
            bias = torch.cat([bias[:third], torch.zeros_like(bias[:third]), bias[2 * third :]])
        return self.attend(x, bias, self.logit_scale)


class FewerHeadsGridAttention(maxvit.RelativePositionalMultiHeadAttention):
    """MaxViT's attention (Tu et al. 2022) whose heads are narrower, together, than the model."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each partition: ``(B, G, P, D)`` to the same."""
        qkv = self.to_qkv(x).unflatten(-1, (3, self.n_heads, self.head_dim)).permute(3, 0, 1, 4, 2, 5)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q @ (k * self.scale_factor).transpose(-2, -1) + self.get_relative_positional_bias()).softmax(-1)
        return self.merge((scores @ v).transpose(2, 3).flatten(3))

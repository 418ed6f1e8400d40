"""What zeros in the weights really save: a packed file without them, and PyTorch's own 2:4 sparse tensors."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from autoprune.errors import UserError


@dataclass(frozen=True)
class SparseSize:
    """The size of a network with zeros in it.

    Args:
        weights: parameters in all.
        non_zeros: those that are not zero.
        bytes: of the packed file, buffers such as batch-norm statistics among them.
        bits_per_weight: bits of the packed file for each parameter, zeros counted too (32 where nothing is saved).
    """

    weights: int
    non_zeros: int
    bytes: int
    bits_per_weight: float


def sparse_size(model: nn.Module) -> SparseSize:
    """Return what ``model`` weighs."""
    weights = sum(p.numel() for p in model.parameters())
    size = len(pack(model.state_dict()))
    return SparseSize(
        weights, sum(int(p.count_nonzero()) for p in model.parameters()), size, 8 * size / max(1, weights)
    )


def pack(state: Mapping[str, Tensor]) -> bytes:
    """Return a state dict as the bytes of a small file: :func:`unpack` gives back every bit.

    A zlib stream of a JSON header, then one bit per weight that tells the zeros where a tensor has many, then the
    other values with all their first bytes together, all second ones, and so on: of floating-point weights the bytes
    that hold the exponent repeat, and compress (the shuffle filter of HDF5 and Blosc).
    """
    squeeze = zlib.compressobj(level=1)
    entries, parts = [], []
    for name, tensor in state.items():
        values = _as_bytes(tensor)
        present = values.any(1)
        sparse = bool(present.mean() < 31 / 32) if len(values) else False  # a bit for each pays off
        entries.append([name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape), sparse])
        if sparse:
            parts.append(np.packbits(present).tobytes())
            values = values[present]
        parts.append(values.T.tobytes())
    header = json.dumps(entries).encode()
    return b"".join(
        [squeeze.compress(part) for part in (len(header).to_bytes(8, "little"), header, *parts)] + [squeeze.flush()]
    )


def unpack(packed: bytes) -> dict[str, Tensor]:
    """Return the state dict that :func:`pack` made ``packed`` of.

    Raises:
        UserError: it is something else.
    """
    try:
        content = zlib.decompress(packed)
        start = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:start])
        state = {}
        for name, dtype, shape, sparse in entries:
            empty = torch.empty(shape, dtype=getattr(torch, dtype))
            values = np.zeros((empty.numel(), empty.element_size()), np.uint8)
            present = np.ones(len(values), bool)
            if sparse:
                bits = np.frombuffer(content, np.uint8, (len(values) + 7) // 8, start)
                present = np.unpackbits(bits, count=len(values)).astype(bool)
                start += len(bits)
            size = int(present.sum()) * values.shape[1]
            values[present] = np.frombuffer(content, np.uint8, size, start).reshape(values.shape[1], -1).T
            start += size
            state[name] = torch.from_numpy(values.reshape(-1)).view(empty.dtype).view(shape)
    except (zlib.error, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"this is no packed state dict: {error}") from None
    return state


def _as_bytes(tensor: Tensor) -> np.ndarray:
    """Return one row of bytes for each element."""
    flat = tensor.detach().cpu().contiguous().view(-1)
    return flat.view(torch.uint8).numpy().reshape(len(flat), flat.element_size())


def is_n_m(weight: Tensor, n: int = 2, m: int = 4) -> bool:
    """Return whether at most ``n`` of every ``m`` neighbours along the second dimension are not zero."""
    if weight.dim() < 2 or weight.shape[1] % m:
        return False
    return bool((weight.movedim(1, -1).unflatten(-1, (-1, m)).count_nonzero(-1) <= n).all())


def to_semi_structured(model: nn.Module) -> tuple[list[str], dict[str, str]]:
    """Turn the 2:4 weights of linear layers into PyTorch's semi-structured sparse tensors, in place.

    Returns:
        The layers that were converted, and for each other one with 2:4 weights why it was not.
    """
    converted, left = [], {}
    for name, layer in model.named_modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor) or not is_n_m(weight):
            continue
        reason = _why_not_semi_structured(layer, weight)
        if reason is None:
            try:
                layer.weight = nn.Parameter(torch.sparse.to_sparse_semi_structured(weight.detach()), False)
                converted.append(name)
            except RuntimeError as error:
                reason = " ".join(str(error).split())
        if reason:
            left[name] = reason
    return converted, left


def _why_not_semi_structured(layer: nn.Module, weight: Tensor) -> str | None:
    if not isinstance(layer, nn.Linear):
        return f"PyTorch multiplies 2:4 matrices, so linear layers only: this is a {type(layer).__name__}"
    if not weight.is_cuda:
        where = "the weights lie on the CPU" if torch.cuda.is_available() else "this machine has no CUDA GPU"
        return f"{where}: 2:4 tensors need an NVIDIA GPU of compute capability 8.0 or higher"
    if torch.cuda.get_device_capability(weight.device) < (8, 0):
        return "this GPU's compute capability is below 8.0"
    if weight.dtype not in (torch.float16, torch.bfloat16, torch.int8):
        return f"2:4 tensors are float16, bfloat16 or int8, not {weight.dtype}: use model.half()"
    return None

"""A pruned network from a plain state dict: the dense one, resized to the shapes that the weights have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.prune.blocks import drop, find_blocks
from autoprune.prune.graph.slopes import LEFT, select_heads
from autoprune.prune.resize import fit_attributes


def rebuild(skeleton: nn.Module, state: Mapping[str, Tensor], example_input: Any = None) -> nn.Module:
    """Resize the layers of a dense ``skeleton`` in place to the shapes of a pruned network's ``state``, and load it.

    So a pruned network is kept as a plain state dict, with no pickled code in the file.

    Args:
        example_input: needed where whole residual blocks were dropped: those of which ``state`` holds nothing.
    """
    if example_input is not None and skeleton.state_dict().keys() - state.keys():
        blocks = find_blocks(skeleton, example_input)
        drop(skeleton, [block for block in blocks if not any(name.startswith(f"{block.name}.") for name in state)])
    parameters = {**dict(skeleton.named_parameters(remove_duplicate=False)), **dict(skeleton.named_buffers())}
    resized: dict[int, nn.Parameter] = {}
    for name, old in parameters.items():
        if name not in state or state[name].shape == old.shape:
            continue
        owner, _, key = name.rpartition(".")
        layer = skeleton.get_submodule(owner)
        if isinstance(old, nn.Parameter):
            new = resized.setdefault(id(old), nn.Parameter(torch.empty_like(state[name]), old.requires_grad))
            layer._parameters[key] = new
        else:
            layer._buffers[key] = torch.empty_like(state[name])
    for name in state.keys() - parameters.keys():
        owner, _, key = name.rpartition(".")
        without = dict(skeleton.named_modules()).get(owner)
        if key == LEFT:
            select_heads(skeleton.get_submodule(owner), state[name].clone())
        elif key == "bias" and without is not None and without._parameters.get("bias", without) is None:
            without.bias = nn.Parameter(torch.empty_like(state[name]))  # got for channels that went
    fit_attributes(skeleton)
    skeleton.load_state_dict(state)
    return skeleton.eval()

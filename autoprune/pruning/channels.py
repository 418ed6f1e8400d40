"""Physical removal of channels, and rebuilding a pruned network from its state dict."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
import torch_pruning as tp
from torch import Tensor, nn

from autoprune.errors import TrialFailure
from autoprune.pruning.groups import Groups, dependency_graph


def remove_channels(
    model: nn.Module, example_input: Tensor, groups: Groups, remove: Mapping[str, Sequence[int]]
) -> nn.Module:
    """Return a copy of ``model`` without the given channels, really smaller.

    Args:
        groups: the groups of ``model``.
        remove: indices of the channels to remove, by group name.

    Raises:
        TrialFailure: a group would be left without any channel, or the smaller network does not run.
    """
    model = copy.deepcopy(model)
    expected = _output_shape(model, example_input)
    graph = dependency_graph(model, example_input)
    for group in groups:
        indices = sorted(set(remove.get(group.name, ())))
        if len(indices) >= group.channels:
            raise TrialFailure(f"group {group.name} would lose all of its {group.channels} channels")
        if indices:
            layer = model.get_submodule(group.name)
            fn = tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else tp.prune_conv_out_channels
            graph.get_pruning_group(layer, fn, indices).prune()
    if _output_shape(model, example_input) != expected:
        raise TrialFailure("the pruned network's output has another shape than the dense one's")
    return model


def rebuild(skeleton: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Resize the layers of a dense ``skeleton`` in place to the shapes of a pruned network's ``state``, and load it.

    So a pruned network is kept as a plain state dict, with no pickled code in the file.
    """
    for name, layer in skeleton.named_modules():
        own = {
            key: state.get(f"{name}.{key}")
            for key, _ in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        }
        for key, tensor in own.items():
            if tensor is None:
                continue
            if key in layer._parameters:
                layer._parameters[key] = nn.Parameter(torch.empty_like(tensor))
            else:
                layer._buffers[key] = torch.empty_like(tensor)
        _set_sizes(layer, own.get("weight"))
    skeleton.load_state_dict(state)
    return skeleton.eval()


def _set_sizes(layer: nn.Module, weight: Tensor | None) -> None:
    if weight is None:
        return
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if layer.groups > 1:  # depthwise: one group for each channel
            layer.groups = layer.in_channels = layer.out_channels = len(weight)
        else:
            layer.out_channels, layer.in_channels = weight.shape[:2]
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
        layer.num_features = len(weight)


@torch.no_grad()
def _output_shape(model: nn.Module, example_input: Tensor) -> torch.Size:
    try:
        return model.eval()(example_input).shape
    except RuntimeError as error:
        raise TrialFailure(f"the pruned network does not run: {error}") from error

"""A network that runs with other sizes in turn, without being built anew each time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from autoprune.prune.blocks import Block
from autoprune.prune.resize import fit_attributes

_TENSORS = ("_parameters", "_buffers", "_modules", "training")


class Resizable:
    """A copy of a network whose layers take parameters of any fitting shapes; gradients reach what these came from.

    Many times faster than a copy for each size where the network is small (:func:`autoprune.prune.removal.cut`).
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = copy.deepcopy(model)
        self._layers = [(layer, type(layer), _attributes(layer)) for layer in self._model.modules()]
        named = dict(self._model.named_modules(remove_duplicate=False))
        self._owners = {
            name: (named[name.rpartition(".")[0]], name.rpartition(".")[2])
            for tensors in (
                self._model.named_parameters(remove_duplicate=False),
                self._model.named_buffers(remove_duplicate=False),
            )
            for name, _ in tensors
        }

    def run(
        self,
        state: Mapping[str, Tensor],
        dropped: Iterable[Block],
        training: bool,
        forward: Callable[[nn.Module], Any],
    ) -> Any:
        """Run the network once.

        Args:
            state: all parameters and buffers, by name, in the shapes to run with. What the network writes to
                (statistics of batch norms) it writes to these tensors.
            dropped: residual blocks to leave out.
            training: the mode in which it runs.
            forward: runs the network that it is given on a batch.
        """
        for name, value in state.items():
            layer, key = self._owners[name]
            tensors = layer._parameters if key in layer._parameters else layer._buffers
            tensors[key] = value
        fit_attributes(self._model)
        whole = [(block.name, self._model.get_submodule(block.name)) for block in dropped]
        self._model.train(training)
        try:
            for (name, _), block in zip(whole, dropped, strict=True):
                self._model.set_submodule(name, block.stand_in().train(training))
            return forward(self._model)
        finally:
            for name, module in whole:
                self._model.set_submodule(name, module)
            for layer, kind, attributes in self._layers:
                layer.__class__ = kind
                vars(layer).update(attributes)


def _attributes(layer: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(layer).items() if key not in _TENSORS}

"""Mixtures of experts: the hidden units of experts that lie together in one parameter.

Each token goes to experts of its own, by kernels that sort tokens (transformers has several): there is nothing to
follow operation by operation. So the module is one operation, whose parameters say what goes with what.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.prune.graph.propagation import Axis, LabelPropagator

LAYOUT = ("has_gate", "has_bias", "is_transposed", "is_concatenated", "down_proj")
"""What transformers' experts say of themselves."""

INNER_WIDTHS = ("intermediate_dim", "intermediate_size", "expert_dim", "ffn_dim")


def are_experts(module: nn.Module) -> bool:
    """Whether ``module`` holds the weights of all experts, ``(experts, outputs, inputs)`` or the other way round.

    With nothing else: a module with parameters of another kind is followed operation by operation.
    """
    if not all(hasattr(module, name) for name in LAYOUT):
        return False
    inner, down = _inner(module), module.down_proj
    known = {inner, "down_proj", f"{inner}_bias", "down_proj_bias"}
    own = dict(module.named_parameters())
    return own.keys() <= known and inner in own and isinstance(down, Tensor) and down.ndim == 3


def shrink_experts(module: nn.Module) -> None:
    """Set the attributes of experts that say how many hidden units each has."""
    if are_experts(module):
        for name in INNER_WIDTHS:
            if isinstance(getattr(module, name, None), int):
                setattr(module, name, module.get_parameter("down_proj").shape[1 if module.is_transposed else 2])


def _inner(module: nn.Module) -> str:
    return "gate_up_proj" if module.has_gate else "up_proj"


class Experts(LabelPropagator):
    """The rule for modules that hold the weights of experts."""

    @contextmanager
    def experts_followed(self, model: nn.Module) -> Iterator[None]:
        """Take experts in ``model`` as one operation each."""

        def enter(*_: Any) -> None:
            self.paused = True

        def leave(module: nn.Module, args: tuple, named: dict[str, Any], out: Tensor) -> None:
            self.paused = False
            self.experts(module, [*args, *named.values()], out)

        hooks = []
        for module in model.modules():
            if are_experts(module):
                hooks.append(module.register_forward_pre_hook(enter))
                hooks.append(module.register_forward_hook(leave, with_kwargs=True, always_call=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def experts(self, module: nn.Module, given: list[Any], out: Tensor) -> None:
        """Join the hidden units of all experts, and what they read and write with what is around them.

        Args:
            given: tokens ``(N, width)``, then the experts of each ``(N, chosen)`` and how much each counts.
            out: of the same shape as the tokens.
        """
        tokens, chosen = given[0], given[1]
        units, read = (2, 1) if module.is_transposed else (1, 2)
        inner = _inner(module)
        made, columns = self._axis(module, inner, units, "out"), self._axis(module, inner, read, "in")
        used, written = self._axis(module, "down_proj", read, "in"), self._axis(module, "down_proj", units, "out")
        if module.has_bias:
            self.couplings.join(made, self._axis(module, f"{inner}_bias", 1, "carry"))
            self.couplings.join(written, self._axis(module, "down_proj_bias", 1, "carry"))
        halves = [made]
        if module.has_gate:
            halves = list(made.chunk(2)) if module.is_concatenated else [made[::2], made[1::2]]
        for half in halves:
            self.couplings.join(used, half)
        labels = self.plain(tokens, "experts")
        channels = torch.zeros(tokens.shape[-1], dtype=torch.int32)
        if labels is not None:
            channels = self.couplings.tie(labels, range(labels.ndim - 1)).flatten()
        self.couplings.join(channels, columns)
        for weight in given[2:]:
            routed = self.get(weight)
            if routed is not None:
                self.stop(routed, "it says which experts a token goes to")
        if not self.macs_counted:
            for name in (inner, "down_proj"):
                full, weight = self.names[id(getattr(module, name))], getattr(module, name)
                self.macs[full] = self.macs.get(full, 0) + chosen.numel() * weight[0].numel()
        self.put(out, written.expand(out.shape))

    def _axis(self, module: nn.Module, name: str, dim: int, role: str) -> Tensor:
        """Return labels along one dimension of a parameter."""
        parameter = getattr(module, name)
        full, size = self.names[id(parameter)], parameter.shape[dim]
        key = (full, dim)
        if key not in self.expert_axes:
            self.expert_axes[key] = self.couplings.new((size,))
            self.axes.append(Axis(full, dim, int(self.expert_axes[key][0]), (size,)))
            self.roles[key] = role
        return self.expert_axes[key]

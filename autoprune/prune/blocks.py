"""Whole residual blocks: which modules can be dropped, so that the network becomes shallower, and dropping them.

A block is a module that adds a branch to its input. Without the branch it passes its input on (or the ReLU of it), so
nothing around it changes. Found by running it, whatever its class: with its parameters at zero it must do just that.

A transformer layer that normalises after the addition (BERT's) would leave its norms behind, which only normalise again
what the layer before has normalised. They go with it, as in LayerDrop (Fan et al. 2020) and in Poor Man's BERT (Sajjad
et al. 2020).
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from autoprune.base.device import CPU, on_cpu
from autoprune.base.modes import evaluating
from autoprune.base.tree import call, to_device
from autoprune.errors import UserError
from autoprune.measure.measure import counting
from autoprune.prune.graph.trace import is_cache, tensors
from autoprune.prune.outputs import relative_difference
from autoprune.prune.subject import random_subject
from autoprune.task.accepted import accepted

NORMS = ("LayerNorm", "RMSNorm")
"""How classes of norms are called that may follow the addition of a residual block: many models have their own."""

TOLERANCE = 1e-4
"""Relative difference allowed between a network without blocks and the one whose branches are zero."""


class Skip(nn.Identity):
    """Takes the place of a block: passes its first input on, whatever else it is called with (masks, options).

    Args:
        items: how many things the block returned in a tuple, of which the first is passed on and the others (attention
            weights) are None; 0 if it returned a tensor.
    """

    def __init__(self, items: int = 0) -> None:
        super().__init__()
        self.items = items

    def forward(self, input: Tensor, *others: Any, **named: Any) -> Any:
        """Return ``input``, as the first of a tuple if the block returned one."""
        return (input, *[None] * (self.items - 1)) if self.items else input


@dataclass(frozen=True)
class Block:
    """A residual block that can be dropped.

    Args:
        name: of the module.
        params: parameters that go with it.
        macs: multiply-accumulates per example that go with it.
        relu: whether what is left is the ReLU of its input; else the input itself.
        norms: whether norms after the addition go with it: then dropping it is more than setting its branch to zero.
        items: how many things it returns in a tuple, the first of which is the tensor; 0 if it returns the tensor.
    """

    name: str
    params: int
    macs: int
    relu: bool = False
    norms: bool = False
    items: int = 0

    def stand_in(self) -> nn.Module:
        """Return the module that takes its place."""
        return nn.ReLU() if self.relu else Skip(self.items)


def find_blocks(model: nn.Module, example_input: Any, keep: Sequence[str] = ()) -> tuple[Block, ...]:
    """Find the residual blocks of ``model``, in its order, the smallest where they lie in each other.

    An attention that returns a tuple is one only if what lies beside it in its layer is a block as well.

    A block is called once, returns a tensor of the same shape and type as its first input (alone, or as the first of a
    tuple, as layers of transformers do), has a matrix or a kernel among its parameters, and returns that input or the
    ReLU of it when its parameters are zero; if not, the input when its layer norms pass on what they are given as well
    (:attr:`Block.norms`). What else is in the tuple is None without the block. An addition in the forward function of
    the model around it (``x + self.block(x)``) is not part of a module: such a branch is no block.
    All are then dropped together, and one after the other if that fails: the output must be that of the network whose
    branches are zero (and whose norms after the addition do nothing).

    Args:
        example_input: a tensor of shape ``(1, ...)``, a tuple of positional arguments or a mapping of named ones.
        keep: names of layers; a block that holds any of them is none.

    Raises:
        UserError: a network that cannot be pruned (:func:`~autoprune.task.accepted.accepted`).
    """
    model, example_input = on_cpu(accepted(model)), to_device(example_input, CPU)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # neither the counter nor the norms' stand-ins see into it
    try:
        with torch.no_grad(), evaluating(model):
            return _proved(model, example_input, _residual(model, example_input, keep))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def choose_blocks(blocks: Iterable[Block], names: Iterable[str], task: str) -> tuple[Block, ...]:
    """Return the blocks called ``names``.

    Raises:
        UserError: there is none of a name, with the near matches.
    """
    known = {block.name: block for block in blocks}
    for name in names:
        if name not in known:
            near = ", ".join(difflib.get_close_matches(name, known) or known) or "none"
            raise UserError(f"no residual block of task {task} that can be dropped is called {name!r}: it has {near}")
    return tuple(known[name] for name in names)


def remove_blocks(model: nn.Module, blocks: Iterable[Block]) -> nn.Module:
    """Return a copy of ``model`` without these blocks: the same function as with their branches at zero."""
    return drop(copy.deepcopy(model), blocks)


def drop(model: nn.Module, blocks: Iterable[Block]) -> nn.Module:
    """Do what :func:`remove_blocks` does in place, and return ``model``."""
    for block in blocks:
        module = model.get_submodule(block.name)
        stand_in = block.stand_in().train(module.training)
        for name, value in vars(module).items():  # the model around may read them, such as the kind of its attention
            if isinstance(value, str | int | float) and not name.startswith("_") and not hasattr(stand_in, name):
                setattr(stand_in, name, value)
        model.set_submodule(block.name, stand_in)
    return model


@torch.no_grad()
def block_importance(
    model: nn.Module, blocks: Iterable[Block], loss_of: Callable[[nn.Module], float]
) -> dict[str, float]:
    """Return by how much the loss rises when each block alone is dropped, by its name.

    Args:
        loss_of: gives a network's loss on a batch of training data.
    """
    model = copy.deepcopy(model).eval()
    dense = loss_of(model)
    return {block.name: loss_of(remove_blocks(model, [block])) - dense for block in blocks}


def zero_branches(model: nn.Module, blocks: Iterable[Block]) -> nn.Module:
    """Return a copy of ``model`` in which these blocks' parameters, and the means of their norms, are zero.

    Norms after an addition (:attr:`Block.norms`) pass on what they are given.
    """
    model = copy.deepcopy(model)
    for block in blocks:
        _zero(model.get_submodule(block.name), block.norms)
    return model


@dataclass
class _Seen:
    """One call of a module: its first input's shape, if the output has the same, and the others as they were."""

    fits: bool
    items: int
    macs: int
    input: Tensor
    others: tuple[Any, ...]
    named: dict[str, Any]


def _residual(model: nn.Module, example_input: Any, keep: Sequence[str]) -> list[Block]:
    """Return the blocks that are residual by themselves."""
    calls = _watch(model, example_input)
    found: list[Block] = []
    for name, module in reversed(list(model.named_modules())):  # what a module holds comes before it
        seen = calls.get(name, [])
        if len(seen) != 1 or not seen[0].fits or all(p.ndim < 2 for p in module.parameters()):
            continue
        if any(kept == name or kept.startswith(f"{name}.") for kept in keep):
            continue
        params, inner = _count(module), [block for block in found if block.name.startswith(f"{name}.")]
        if any(not block.items for block in inner) or inner and sum(block.params for block in inner) == params:
            continue  # an attention that adds to its input goes with its layer, unless all of the layer is such parts
        left = _left_without_branch(module, seen[0])
        if left is not None:
            found = [block for block in found if block not in inner]
            found.append(Block(name, params, seen[0].macs, **left))
    return found[::-1]


def _watch(model: nn.Module, example_input: Any) -> dict[str, list[_Seen]]:
    """Run the model once and return the calls of each module but itself, by its name."""
    calls: dict[str, list[_Seen]] = {}
    started: dict[str, int] = {}
    examples = next((len(leaf) for leaf in tree_leaves(example_input) if isinstance(leaf, Tensor) and leaf.ndim), 1)
    with counting(model) as counter:

        def watch(name: str, module: nn.Module) -> list[Any]:
            def before(module, args) -> None:
                started[name] = counter.get_total_flops()

            def after(module, args, kwargs, output) -> None:
                x, first, items = args[0] if args else None, output, 0
                if isinstance(output, tuple) and output:
                    first, items = output[0], len(output)
                fits = isinstance(x, Tensor) and isinstance(first, Tensor) and _fit(x, first)
                macs = (counter.get_total_flops() - started[name]) // 2 // examples
                like = x if isinstance(x, Tensor) and fits else torch.empty(0)
                calls.setdefault(name, []).append(_Seen(fits, items, macs, like.to("meta"), args[1:], kwargs))

            return [
                module.register_forward_pre_hook(before),
                module.register_forward_hook(after, with_kwargs=True),
            ]

        hooks = [hook for name, module in model.named_modules() if name for hook in watch(name, module)]
        try:
            call(model, copy.deepcopy(example_input))
        finally:
            for hook in hooks:
                hook.remove()
    return calls


def _left_without_branch(module: nn.Module, seen: _Seen) -> dict[str, Any] | None:
    """Return how the module passes its input on with its parameters at zero, as fields of :class:`Block`, or None.

    Asked with random numbers: those that the model sends may be positive already.
    """
    device = next(module.parameters()).device
    x = torch.randn(seen.input.shape, generator=torch.Generator().manual_seed(0)).to(device, seen.input.dtype)
    others = [None if is_cache(value) else value for value in seen.others]  # it holds the tokens of this call already
    named = {name: None if is_cache(value) else value for name, value in seen.named.items()}
    for norms in (False, True) if any(map(_is_norm, module.modules())) else (False,):
        try:
            output = _zero(copy.deepcopy(module), norms)(x.clone(), *others, **named)
        except Exception:
            return None
        output = output[0] if seen.items else output
        if torch.equal(output, x):
            return {"norms": norms, "items": seen.items}
        if not norms and not seen.items and torch.equal(output, x.relu()):
            return {"relu": True}
    return None


def _zero(module: nn.Module, norms: bool = False) -> nn.Module:
    """Set the parameters of ``module`` to zero in place; ``norms``: and let its layer norms do nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):  # of a norm without a scale that could be zero
                buffer.zero_()
    for part in module.modules():
        if norms and _is_norm(part):
            vars(part)["forward"] = _pass_on  # the layer around may read the norm's attributes: it must stay one
    return module


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith(NORMS)


def _fit(x: Tensor, output: Tensor) -> bool:
    return x.is_floating_point() and (x.shape, x.dtype) == (output.shape, output.dtype)


def _pass_on(x: Tensor) -> Tensor:
    return x


def _proved(model: nn.Module, example_input: Any, blocks: list[Block]) -> tuple[Block, ...]:
    """Return the blocks without which the model computes what it does with their branches at zero."""
    if not blocks:
        return ()
    subject = random_subject(model, example_input)
    model, example_input = subject.copy().eval(), subject.example_input
    if _same_function(model, example_input, blocks):
        return tuple(blocks)
    good: list[Block] = []
    for block in blocks:
        if _same_function(model, example_input, [*good, block]):
            good.append(block)
    return tuple(good)


def _same_function(model: nn.Module, example_input: Any, blocks: list[Block]) -> bool:
    wanted = tensors(call(zero_branches(model, blocks), copy.deepcopy(example_input)))
    try:
        found = tensors(call(remove_blocks(model, blocks), copy.deepcopy(example_input)))
    except Exception:  # such as a model that reads something of the block
        return False
    return relative_difference(found, wanted) < TOLERANCE and _nothing_else_is_read(model, example_input, blocks)


def _nothing_else_is_read(model: nn.Module, example_input: Any, blocks: list[Block]) -> bool:
    """Whether the model computes the same without what blocks return beside the tensor that they add to."""
    modules = [model.get_submodule(block.name) for block in blocks if block.items > 1]
    if not modules:
        return True
    wanted = tensors(call(model, copy.deepcopy(example_input)))
    hooks = [module.register_forward_hook(lambda _, __, out: (out[0], *[None] * (len(out) - 1))) for module in modules]
    try:
        return relative_difference(tensors(call(model, copy.deepcopy(example_input))), wanted) < TOLERANCE
    except Exception:  # such as a model that stacks the attention weights of all layers
        return False
    finally:
        for hook in hooks:
            hook.remove()

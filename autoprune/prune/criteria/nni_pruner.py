"""Scores by NNI's own pruners."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import reduce
from itertools import islice

import torch
from torch import Tensor, nn

from autoprune.base.tree import device_of, to_device
from autoprune.errors import UserError
from autoprune.prune.criteria.base import Context, Request, per_unit
from autoprune.prune.groups import Group, Slice
from autoprune.train import loading


def norm_scores(name: str) -> Callable[[Request], dict[str, Tensor]]:
    """Return the ``score`` of a criterion whose NNI pruner, ``name``, looks at nothing but the filters."""

    def score(request: Request) -> dict[str, Tensor]:
        with nni_pruner(name, request) as pruner:
            metrics = measured(pruner)
        return sum_over_layers(request, metrics)

    return score


def is_there() -> bool:
    """Whether NNI can be imported: a search in Python on a machine of its own may do without."""
    try:
        import nni.compression.pruning  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def nni_pruner(name: str, request: Request, config: list[dict] | None = None, **options):
    """Wrap the layers of ``request`` in NNI's pruner ``name`` and unwrap them at the end.

    Raises:
        UserError: NNI is not installed.
    """
    if not is_there():
        raise UserError(f"NNI's {name} scores by this criterion: pip install nni==3.0, or use l1_norm or group_norm")
    import nni.compression.pruning

    config = config or filters(request)
    for entry in config:
        _register(type(request.model.get_submodule(entry["op_names"][0])), entry["target_names"][0])
    before = {layer: (dict(layer._parameters), layer.__dict__.get("forward")) for layer in request.model.modules()}
    pruner = getattr(nni.compression.pruning, name)(request.model, config, **options)
    try:
        yield pruner
    finally:
        pruner.unwrap_model()
        for layer, (parameters, forward) in before.items():
            # NNI puts a new parameter in the place of each that it wrapped, which would part tied layers, and leaves
            # its bound forward in the instance, where it would outlive a change of class
            for key, parameter in parameters.items():
                put = layer._parameters[key]
                if parameter is not None and put is not None and put is not parameter:
                    parameter.data = put.data
            layer._parameters = parameters
            if forward is None:
                layer.__dict__.pop("forward", None)
        request.model.eval()


def _register(layer: type[nn.Module], key: str) -> None:
    """Tell NNI of a kind of layer, and of a parameter of it, that it does not know of itself."""
    from nni.compression.base.setting import PruningSetting

    known = PruningSetting.registry.get(layer.__name__, {})
    if key not in known:
        PruningSetting.register(layer.__name__, known | {key: PruningSetting.default_setting["weight"]})


def filters(request: Request) -> list[dict]:
    """Return NNI's config for scoring the filters of each group."""
    return [target(request, group, part) for group in request.groups for part in scored(request.model, group)]


def single_weights(request: Request) -> list[dict]:
    """Return NNI's config for scoring every single weight that produces the groups' channels."""
    config = []
    for group, name, weight in request.weights():
        part = next(part for part in group.slices if part.parameter == name and part.role == "out")
        config.append(target(request, group, part) | {"granularity": [1] * weight.dim()})
    return config


def target(request: Request, group: Group, part: Slice) -> dict:
    """Return NNI's config for one parameter, a filter at each position of ``part``."""
    layer, _, key = part.parameter.rpartition(".")
    granularity = [-1] * request.model.get_parameter(part.parameter).dim()
    granularity[part.dim] = 1
    return {
        "op_names": [layer],
        "target_names": [key],
        "sparse_ratio": float(request.sparsity[group.name]),
        "granularity": granularity,
    }


def measured(pruner, *budget) -> dict[str, Tensor]:
    """Let NNI's pruner do its work and return what it measured in the end, by parameter name.

    We choose by its measurements ourselves, and not by its masks: those round counts down, and with a global threshold
    can empty a layer.

    Raises:
        UserError: the model uses a weight without calling its layer, so that NNI's wrapper never takes effect.
    """
    last = {}
    generate = pruner._generate_sparsity

    def keep(metrics):
        if pruner.evaluator:
            _check_seen(pruner)
        last.update(metrics)
        return generate(metrics)

    pruner._generate_sparsity = keep
    pruner.compress(*budget)
    return {
        f"{layer}.{key}": metric.detach().clone() for layer, targets in last.items() for key, metric in targets.items()
    }


def _check_seen(pruner) -> None:
    for layer, spaces in pruner._target_spaces.items():
        for key, space in spaces.items():
            if space.target.grad is None:
                raise UserError(
                    f"NNI's {type(pruner).__name__} does not see {layer}.{key}, which is used without its layer being "
                    "called: use another criterion (group_taylor and group_norm look at gradients and weights directly)"
                )


def sum_over_layers(request: Request, metrics: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the scores of each group's filters up (NNI takes the mean over its layers, which gives the same order)."""
    return {
        group.name: reduce(
            torch.add,
            (per_unit(group, part, metrics[part.parameter].flatten()) for part in scored(request.model, group)),
        )
        for group in request.groups
    }


def scored(model: nn.Module, group: Group) -> list[Slice]:
    """Return where the filters lie that are scored: where convolutions mix with matrices, those of the convolutions."""
    parts = [part for part in group.slices if part.role == "out"]
    return [part for part in parts if model.get_parameter(part.parameter).dim() > 2] or parts


def evaluator(model: nn.Module, context: Context, learning_rate: float):
    """Return NNI's evaluator: it trains by plain SGD or, at a learning rate of 0, only looks at gradients."""
    import nni
    from nni.compression import TorchEvaluator

    def training_step(batch, model) -> Tensor:
        return context.task.loss_of(model, to_device(batch, device_of(model)))

    # NNI passes these by position
    def train(model, optimizer, training_step, lr_scheduler, max_steps, max_epochs) -> None:
        model.train(learning_rate > 0)  # batch norm stays what it is where nothing is trained
        batches = loading.endless_batches(context.train, context.task.recovery.batch_size, context.seed)
        for batch in islice(batches, max_steps):
            optimizer.zero_grad()
            training_step(batch, model).backward()
            optimizer.step()

    optimizer = nni.trace(torch.optim.SGD)(model.parameters(), lr=learning_rate)
    return TorchEvaluator(train, optimizer, training_step)

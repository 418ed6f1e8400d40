"""Lightning modules (Falcon et al. 2019, PyTorch Lightning) with their data module."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from autoprune.base.modes import modes_kept
from autoprune.base.quiet import quiet
from autoprune.base.tree import device_of
from autoprune.errors import UserError
from autoprune.results.measures import METRICS, Measure, Metric
from autoprune.task.adapters import need, one_example
from autoprune.task.objective import inputs_of
from autoprune.task.recipe import Recipe
from autoprune.task.task import Task

if TYPE_CHECKING:
    from lightning import LightningDataModule, LightningModule


def from_lightning(
    module: LightningModule, datamodule: LightningDataModule, metric: Measure | str = "accuracy", **of_task: Any
) -> Task:
    """Return the task of a trained Lightning module: its ``training_step`` is the loss, its ``validation_step`` judges.

    Args:
        module: its ``forward`` takes what is exported: the inputs without labels.
        datamodule: gives the loaders of training, validation and test; without one for the test the validation stands
            for it.
        metric: what ``validation_step`` logs and networks are judged by: a name, of which more is better unless it ends
            in ``loss``, or an ``autoprune.Metric``.
        **of_task: more of :class:`autoprune.Task`, which wins over what is found here.

    Raises:
        UserError: lightning is not installed, or the data module has no training or validation loader.
    """
    need("lightning", "from_lightning")
    for stage in ("fit", "test"):
        datamodule.setup(stage)
    try:
        train, validation = datamodule.train_dataloader(), datamodule.val_dataloader()
    except Exception as error:
        raise UserError(f"from_lightning: the data module gives no loaders: {error}") from None
    try:
        test = datamodule.test_dataloader() or validation
    except Exception:  # lightning's own says that it is not there
        test = validation
    if isinstance(metric, str):
        metric = METRICS.get(metric) or Metric(metric, "minimize" if metric.endswith("loss") else "maximize")
    example = of_task.pop("example", module.example_input_array)
    if example is None:
        example = one_example(inputs_of(next(iter(validation)), None))
    recovery = Recipe(steps=200, learning_rate=0.01)
    module = copy.deepcopy(module).cpu().eval()
    given = {
        "name": type(module).__name__,
        "model": module,
        "example": example,
        "train": train,
        "validation": validation,
        "test": test,
        "forward": _forward,
        "loss": _loss,
        "evaluate": _Validate(module),
        "metric": metric,
        "recovery": recovery,
        "training": recovery,
    }
    return Task(**given | of_task)


def _forward(module: Any, batch: Any) -> Any:
    """Return the outputs; of a module that trains, with the loss of its own training step."""
    if not module.training or not hasattr(module, "training_step"):
        return module(inputs_of(batch, None))
    seen: list[Any] = []
    watch = module.register_forward_hook(lambda _module, _inputs, outputs: seen.append(outputs))
    with watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about logging without a trainer
        found = module.training_step(batch, 0)
    return {"logits": seen[-1] if seen else None, "loss": found["loss"] if isinstance(found, dict) else found}


def _loss(outputs: Any, batch: Any) -> Tensor:
    return outputs["loss"]


class _Validate:
    """What a module's validation step logs of a model: another version of the module, or a file that was exported."""

    def __init__(self, module: LightningModule) -> None:
        self._module = module

    def __call__(self, model: Any, batches: Iterable[Any]) -> dict[str, float]:
        import lightning

        if not isinstance(model, lightning.LightningModule):
            loaded, model = model, copy.deepcopy(self._module)
            model.forward = lambda *inputs: loaded(*inputs)  # a module would become a layer
        each: Any = list(batches)
        loader: DataLoader = DataLoader(each, batch_size=None)  # a list would be several loaders
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        where = {"accelerator": "cpu", "strategy": _where_it_is(model)}
        try:
            with quiet(), modes_kept(model):
                (found,) = lightning.Trainer(**where, **options).validate(model, loader, verbose=False)
        finally:
            model._trainer = None
        return {name: float(value) for name, value in found.items()}


def _where_it_is(model: nn.Module) -> Any:
    """Return the strategy that runs a model on the device on which it is, whichever that is, and leaves it there."""
    from lightning.pytorch.strategies import SingleDeviceStrategy

    class WhereItIs(SingleDeviceStrategy):
        def setup_environment(self) -> None:
            pass  # lightning's asks for an accelerator that it knows

        def teardown(self) -> None:
            pass  # lightning's moves the model to the CPU

    return WhereItIs(device_of(model))

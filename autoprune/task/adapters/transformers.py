"""Models of transformers (Wolf et al. 2020), with the data and the collation of a ``Trainer``."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from autoprune.errors import UserError
from autoprune.results.measures import METRIC, METRICS, Measure, Metric
from autoprune.task.adapters import need, one_example
from autoprune.task.objective import LABELS, labels_in, main_output
from autoprune.task.recipe import Recipe
from autoprune.task.task import Task

if TYPE_CHECKING:
    from transformers import Trainer


def from_transformers(trainer: Trainer, test: Any = None, metric: Measure | str | None = None, **of_task: Any) -> Task:
    """Return the task of a ``Trainer``: its trained model, its data sets, collator and learning rate.

    Args:
        trainer: has a model, a training and an evaluation data set. Where it has ``compute_metrics``, these judge.
        test: the data set of the figures reported at the end; the evaluation data set if None.
        metric: one that ``compute_metrics`` returns, or a known one; by itself perplexity for a language model, else
            accuracy.
        **of_task: more of :class:`autoprune.Task`, which wins over what is found here.

    Raises:
        UserError: transformers is not installed, or a data set is missing.
    """
    need("transformers", "from_transformers", "text")
    if trainer.train_dataset is None or trainer.eval_dataset is None:
        raise UserError("from_transformers: the Trainer needs a train_dataset and an eval_dataset")
    model, args = trainer.model, trainer.args
    collate = _Collate(trainer.data_collator, model)
    size = args.per_device_train_batch_size
    how = {"collate_fn": collate, "num_workers": args.dataloader_num_workers}
    train = DataLoader(trainer.train_dataset, size, shuffle=True, drop_last=len(trainer.train_dataset) > size, **how)
    judged = trainer.eval_dataset if test is None else test
    is_language_model = type(model).__name__.endswith(("LMHeadModel", "ForCausalLM"))
    metric = metric or (METRICS["perplexity"] if is_language_model else METRIC)
    if isinstance(metric, str):
        metric = METRICS.get(metric) or Metric(metric)
    recovery = Recipe(
        steps=200,
        batch_size=size,
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        optimizer="adamw",
        distillation=0.5,
        temperature=2.0,
        clip=args.max_grad_norm or None,
    )
    given = {
        "name": getattr(model.config, "model_type", type(model).__name__),
        "model": copy.deepcopy(model).cpu().eval(),
        "example": one_example(next(iter(DataLoader(trainer.eval_dataset, 1, **how))), without=LABELS),
        "train": train,
        "validation": DataLoader(trainer.eval_dataset, args.per_device_eval_batch_size, **how),
        "test": DataLoader(judged, args.per_device_eval_batch_size, **how),
        "metric": metric,
        "evaluate": _Evaluate(trainer.compute_metrics) if trainer.compute_metrics else None,
        "recovery": recovery,
        "training": recovery,
    }
    return Task(**given | of_task)


class _Collate:
    """A collator, less the columns that the model does not take, as ``Trainer`` leaves them out."""

    def __init__(self, collate: Callable[[list[Any]], Any], model: nn.Module) -> None:
        self._collate = collate
        self._names = {*inspect.signature(model.forward).parameters, "labels", "label", "label_ids"}

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        if rows and isinstance(rows[0], Mapping):
            rows = [{name: value for name, value in row.items() if name in self._names} for row in rows]
        return dict(self._collate(rows))


class _Evaluate:
    """A ``Trainer``'s ``compute_metrics``, given the logits and the labels of all batches."""

    def __init__(self, compute: Callable[[Any], Mapping[str, float]]) -> None:
        self._compute = compute

    def __call__(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        from transformers import EvalPrediction

        logits, labels = [], []
        for batch in batches:
            logits.append(torch.as_tensor(main_output(model(**batch))).float().cpu())
            labels.append(labels_in(batch).cpu())
        found = self._compute(EvalPrediction(torch.cat(logits).numpy(), torch.cat(labels).numpy()))
        return {name.removeprefix("eval_"): float(value) for name, value in found.items()}

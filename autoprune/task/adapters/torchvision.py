"""Segmentation models and detectors of torchvision (TorchVision maintainers 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from functools import partial
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from autoprune.base.modes import evaluating
from autoprune.errors import UserError
from autoprune.task.adapters import one_example
from autoprune.task.recipe import Recipe
from autoprune.task.task import Data, Task

VOID = 255
"""The label of pixels that belong to no class, as torchvision's own training has it."""

AUXILIARY = 0.5
"""Weight of the auxiliary classifier's loss, as torchvision's own training has it."""


def from_torchvision(
    model_or_name: nn.Module | str,
    train: Data,
    validation: Data,
    test: Data | None = None,
    classes: int | None = None,
    batch: int = 8,
    **of_task: Any,
) -> Task:
    """Return the task of a segmentation model or a detector of torchvision; which of the two, the model itself shows.

    Segmentation: the loss is the cross-entropy of ``out`` and half that of ``aux``, and mIoU judges. Detection: the
    loss is the sum of the model's own, and mAP over the IoUs from 0.5 to 0.95 judges.

    Args:
        model_or_name: a trained model; or a name of ``torchvision.models.list_models()``, which is trained first.
        train: a data set or a loader. Segmentation: an image ``(3, H, W)`` and the class of each pixel, ``(H, W)``,
            255 where there is none. Detection: an image and a dictionary of ``boxes`` ``(n, 4)``, x1, y1, x2, y2 in
            pixels, and ``labels`` ``(n,)``, 1 or more; a batch is a list of images and one of dictionaries.
        validation: the same, for the search's judgement.
        test: the same, for the figures at the end; the validation data if None.
        classes: of a model given by its name, the background included.
        batch: examples in a batch of a data set.
        **of_task: more of :class:`autoprune.Task`, which wins over what is found here.

    Raises:
        UserError: an unknown name, a name without classes, or a model that is neither.
    """
    if isinstance(model_or_name, nn.Module):
        name, model = type(model_or_name).__name__, model_or_name
        of_model: Any = model
    else:
        name, of_model = model_or_name, partial(_built, model_or_name, classes)
        model = of_model()
    splits = {"train": train, "validation": validation, "test": validation if test is None else test}
    if isinstance(getattr(model, "transform", None), GeneralizedRCNNTransform):
        splits = {name: _listing(data, batch, name == "train") for name, data in splits.items()}
        kind = {"forward": _detect, "loss": _sum, "metric": "mAP"}
        example = _first(splits["train"])[0][0][None]
    else:
        example = one_example(_first(splits["train"])[0])
        kind = {"loss": _segmentation_loss, "metric": "mIoU", "evaluate": _miou(model, example)}
    found = {
        "name": name,
        "model": of_model,
        "example": example,
        "recovery": Recipe(steps=500, batch_size=batch, learning_rate=0.01),
        "training": Recipe(steps=2000, batch_size=batch, learning_rate=0.01),
    }
    return Task(**found | splits | kind | of_task)


def _built(name: str, classes: int | None) -> nn.Module:
    if classes is None:
        raise UserError("from_torchvision: say how many classes there are, the background included: classes=21")
    try:
        known = signature(models.get_model_builder(name)).parameters
        untrained = {option: None for option in ("weights", "weights_backbone") if option in known}
        return models.get_model(name, num_classes=classes, **untrained)
    except Exception as error:
        why = " ".join(str(error).split())
        raise UserError(f"from_torchvision: {why} (torchvision.models.list_models() has the names)") from None


def _first(data: Data) -> Any:
    return next(iter(data if isinstance(data, DataLoader) else DataLoader(data)))


def _listing(data: Data, batch: int, shuffle: bool) -> DataLoader:
    if isinstance(data, DataLoader):
        return data
    return DataLoader(data, batch, shuffle, collate_fn=_listed, drop_last=shuffle and len(cast(Sized, data)) > batch)


def _listed(examples: list[tuple[Tensor, Any]]) -> tuple[list[Tensor], list[Any]]:
    images, targets = zip(*examples, strict=True)
    return list(images), list(targets)


def _detect(model: nn.Module, batch: Any) -> Any:
    """Return what a detector finds; of one that trains, its losses."""
    images, targets = batch
    if len({image.shape for image in images}) == 1:
        images = torch.stack(images)  # which detectors take as well, and exported files too
    return model(images, targets) if model.training else model(images)


def _sum(losses: dict[str, Tensor], batch: Any) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _segmentation_loss(outputs: Any, batch: Any) -> Tensor:
    loss = F.cross_entropy(outputs["out"], batch[1], ignore_index=VOID)
    if "aux" not in outputs:
        return loss
    return loss + AUXILIARY * F.cross_entropy(outputs["aux"], batch[1], ignore_index=VOID)


def _miou(model: nn.Module, example: Tensor) -> Any:
    from torchmetrics.classification import MulticlassJaccardIndex

    with evaluating(model), torch.no_grad():
        outputs = model(example)
    if not isinstance(outputs, Mapping) or "out" not in outputs:
        raise UserError(
            f"from_torchvision: {type(model).__name__} is neither a segmentation model nor a detector: a classifier "
            "needs no adapter, give it to autoprune.Task"
        )
    return MulticlassJaccardIndex(outputs["out"].shape[1], ignore_index=VOID)

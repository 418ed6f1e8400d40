"""YOLO detectors of Ultralytics (Jocher et al. 2023) on a data set in the YOLO format."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autoprune.base.quiet import quiet
from autoprune.errors import UserError
from autoprune.task.adapters import need
from autoprune.task.recipe import Recipe
from autoprune.task.task import Task


def from_ultralytics(
    weights_or_yaml: str | Path,
    data_yaml: str | Path,
    imgsz: int | None = None,
    batch: int = 16,
    workers: int = 0,
    **of_task: Any,
) -> Task:
    """Return the task of a YOLO detector: ``autoprune.from_ultralytics("best.pt", "coco8.yaml")``.

    Its own criterion is the loss, its own data set reads and augments the images, and its own validator judges: mAP
    over the IoUs from 0.5 to 0.95.

    Args:
        weights_or_yaml: a trained model, ``best.pt``; or the description of one to be trained first, ``yolov8n.yaml``.
        data_yaml: says where the images of ``train``, ``val`` and ``test`` are, and the names of the classes. Without
            ``test`` the figures called so are of ``val``.
        imgsz: pixels along each side of an image; what the model was trained with if None.
        batch: images in a batch.
        workers: processes that read images.
        **of_task: more of :class:`autoprune.Task`, which wins over what is found here.

    Raises:
        UserError: ultralytics is not installed; the model or the data are not there, are no detector, or do not fit
            each other. Nothing is downloaded.
    """
    need("ultralytics", "from_ultralytics")
    from ultralytics.cfg import get_cfg
    from ultralytics.utils import DEFAULT_CFG_DICT

    with quiet():
        data = _data(data_yaml)
        trained = Path(weights_or_yaml).suffix == ".pt"
        model = _trained(weights_or_yaml, data) if trained else _untrained(weights_or_yaml, data["nc"], data["names"])
        own = {
            name: value for name, value in dict(model.args).items() if name in DEFAULT_CFG_DICT and value is not None
        }
        own |= {"task": "detect", "rect": False, "cache": False} | ({"imgsz": imgsz} if imgsz else {})
        args = get_cfg(overrides=own)
        stride = int(model.stride.max())
        sets = {
            split: _images(args, data, split, batch, stride) for split in ("train", "val", "test") if data.get(split)
        }
    model.args = args
    how: dict[str, Any] = {"collate_fn": _Collate(sets["val"].collate_fn), "num_workers": workers}
    loaders = {
        split: DataLoader(
            found, batch, shuffle=split == "train", drop_last=split == "train" and len(found) > batch, **how
        )
        for split, found in sets.items()
    }
    recovery = Recipe(steps=500, learning_rate=1e-3, optimizer="adamw", weight_decay=5e-4, clip=10.0)
    size = (1, data["channels"], args.imgsz, args.imgsz)
    given = {
        "name": Path(weights_or_yaml).stem,
        "model": Detector(model) if trained else partial(_built, weights_or_yaml, data["nc"], data["names"]),
        "example": torch.rand(size, generator=torch.Generator().manual_seed(0)),
        "train": loaders["train"],
        "validation": loaders["val"],
        "test": loaders.get("test", loaders["val"]),
        "forward": _forward,
        "loss": _Loss(model),
        "evaluate": _Validate(model),
        "metric": "mAP",
        "training": recovery,
        "recovery": recovery,
    }
    return Task(**given | of_task)


class Detector(nn.Module):
    """A YOLO, ``yolo``, without the feature maps that it returns beside its predictions.

    As outputs these would have to stay as they are. The loss asks for their sizes alone, so blanks stand for them.

    Input ``(N, 3, H, W)`` in [0, 1]. Output in evaluation as Ultralytics has it: ``(N, 4 + classes, places)``, or
    ``(N, detections, 6)`` of a detector that needs no non-maximum suppression; in training what its criterion takes.
    """

    def __init__(self, yolo: nn.Module) -> None:
        super().__init__()
        self.yolo: Any = yolo
        self.train(yolo.training)

    def train(self, mode: bool = True) -> Detector:
        """Set the mode of all but the head, which always returns what it predicts as in training.

        Its own reading of that remembers the size of the last batch, to which an exported file would be bound.
        """
        super().train(mode)
        self.yolo.model[-1].training = True
        return self

    def forward(self, images: Tensor) -> Any:
        """Return the predictions."""
        found = self.yolo(images)
        return _blanked(found) if self.training else self._read(found)

    def _read(self, found: dict[str, Any]) -> Tensor:
        from ultralytics.utils.tal import make_anchors

        head = self.yolo.model[-1]
        if "one2many" in found:
            found = found["one2one" if head.end2end else "one2many"]
        places, strides = (each.transpose(0, 1) for each in make_anchors(found["feats"], head.stride, 0.5))
        boxes = head.decode_bboxes(head.dfl(found["boxes"]), places.unsqueeze(0)) * strides
        outputs = torch.cat([boxes, found["scores"].sigmoid()], 1)
        return head.postprocess(outputs.permute(0, 2, 1)) if head.end2end else outputs


def _blanked(predictions: dict[str, Any]) -> dict[str, Any]:
    if "feats" not in predictions:
        return {head: _blanked(found) for head, found in predictions.items()}
    blanks = [torch.zeros(len(each), 1, *each.shape[2:], device=each.device) for each in predictions["feats"]]
    return predictions | {"feats": blanks}


def _forward(model: nn.Module, batch: Any) -> Any:
    return model(batch["img"])


class _Collate:
    """The data set's own collation, with images first, as numbers in [0, 1]."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, examples: list[Any]) -> dict[str, Any]:
        found = self._collate(examples)
        return {"img": found.pop("img").float() / 255, **found}


class _Loss:
    """A detector's own criterion, for an image."""

    def __init__(self, yolo: nn.Module) -> None:
        self._yolo: Any = yolo
        self._criteria: dict[torch.device, Any] = {}

    def __call__(self, outputs: Any, batch: Any) -> Tensor:
        device = batch["img"].device
        if device not in self._criteria:
            self._criteria[device] = copy.deepcopy(self._yolo).to(device).init_criterion()
        return self._criteria[device](outputs, batch)[0].sum() / len(batch["img"])


class _Validate:
    """What Ultralytics' validator finds of a detector: a pruned one, or a file that was exported."""

    def __init__(self, yolo: Any) -> None:
        self._about = SimpleNamespace(names=yolo.names, end2end=yolo.end2end)
        self._args = {name: getattr(yolo.args, name) for name in ("iou", "max_det", "single_cls", "agnostic_nms")}

    def __call__(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        from ultralytics.models.yolo.detect import DetectionValidator

        with quiet(), tempfile.TemporaryDirectory() as folder:
            validator = DetectionValidator(save_dir=Path(folder), args=self._args | {"plots": False})
            validator.data = {}
            validator.init_metrics(self._about)
            for batch in batches:
                validator.device = batch["img"].device
                validator.update_metrics(validator.postprocess(_forward(model, batch)), batch)
            found = validator.get_stats()
        return {"mAP": float(found["metrics/mAP50-95(B)"]), "mAP50": float(found["metrics/mAP50(B)"])}


def _data(path: str | Path) -> dict[str, Any]:
    from ultralytics.data.utils import check_det_dataset

    if not Path(path).is_file():
        raise UserError(f"from_ultralytics: there is no file {path} (nothing is downloaded)")
    try:
        return check_det_dataset(str(path), autodownload=False)
    except Exception as error:
        raise UserError(f"from_ultralytics: {path}: {' '.join(str(error).split())}") from None


def _trained(path: str | Path, data: dict[str, Any]) -> Any:
    from ultralytics.nn.tasks import load_checkpoint

    if not Path(path).is_file():
        raise UserError(f"from_ultralytics: there is no file {path} (nothing is downloaded)")
    model, _ = load_checkpoint(path)
    _check_detects(path, model)
    if len(model.names) != data["nc"]:
        raise UserError(f"from_ultralytics: {path} knows {len(model.names)} classes, but the data have {data['nc']}")
    for name, parameter in model.named_parameters():  # a checkpoint is of averaged weights, which need no gradient
        parameter.requires_grad_(".dfl" not in name)
    return model


def _untrained(path: str | Path, classes: int, names: dict[int, str]) -> Any:
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    try:
        model = DetectionModel(str(path), nc=classes, verbose=False)
    except Exception as error:
        raise UserError(f"from_ultralytics: {path} is no YOLO detector: {' '.join(str(error).split())}") from None
    _check_detects(path, model)
    model.names, model.args = names, get_cfg()
    return model


def _check_detects(path: str | Path, model: Any) -> None:
    from ultralytics.nn.modules.head import Detect, v10Detect

    head = type(model.model[-1])
    if head not in (Detect, v10Detect):
        raise UserError(f"from_ultralytics: {path} ends in {head.__name__}: only detectors have an adapter")


def _built(path: str | Path, classes: int, names: dict[int, str]) -> Detector:
    with quiet():
        return Detector(_untrained(path, classes, names))


def _images(args: Any, data: dict[str, Any], split: str, batch: int, stride: int) -> Any:
    """Return a split as Ultralytics reads it, whose examples depend on no others that were read before."""
    from ultralytics.data.build import build_yolo_dataset

    found = build_yolo_dataset(args, data[split], batch, data, split, stride=stride)
    found.cache = "ram"  # else mosaics are composed of the images that were read last, which it keeps
    found.transforms = found.build_transforms(copy.copy(args))
    return found

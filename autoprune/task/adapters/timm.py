"""Image classifiers of timm (Wightman 2019, PyTorch Image Models) on a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from autoprune.errors import UserError
from autoprune.task.adapters import need
from autoprune.task.recipe import Recipe
from autoprune.task.task import Task

VALIDATION = ("validation", "val", "valid")
FOLDERS = {"train": ("train",), "validation": VALIDATION, "test": ("test", *VALIDATION)}
"""Names of the splits' folders, the first that is there counts."""


def from_timm(
    name: str, image_folder: str | Path, checkpoint: str | Path | None = None, pretrained: bool = False, **of_task: Any
) -> Task:
    """Return the task of a timm model on images: ``autoprune.from_timm("resnet18", "flowers", "flowers.pt")``.

    Args:
        name: of the model.
        image_folder: holds ``train``, ``validation`` (or ``val``, ``valid``) and ``test``, each with a folder of images
            for each class. Without ``test`` the figures called so are of the validation images.
        checkpoint: weights trained for these classes, as timm loads them. Without one the model is trained by the
            task's ``training`` recipe.
        pretrained: whether that training begins at timm's own weights.
        **of_task: more of :class:`autoprune.Task`, which wins over what is found here.

    Raises:
        UserError: timm is not installed or has no such model; a folder is missing.
    """
    need("timm", "from_timm")
    import timm
    from torchvision.datasets import ImageFolder

    folders = {split: _folder(Path(image_folder), split) for split in FOLDERS}
    classes = sum(folder.is_dir() for folder in folders["train"].iterdir())

    def build() -> nn.Module:
        return timm_model(name, pretrained=pretrained, checkpoint_path=checkpoint or "", num_classes=classes)

    model = build()
    config = timm.data.resolve_model_data_config(model)
    sets = {
        split: ImageFolder(folder, timm.data.create_transform(**config, is_training=split == "train"))
        for split, folder in folders.items()
    }
    given = {
        "name": name,
        "model": model if checkpoint else build,
        "example": torch.randn(1, *config["input_size"], generator=torch.Generator().manual_seed(0)),
        "train": DataLoader(sets["train"], 64, shuffle=True, drop_last=len(sets["train"]) > 64),
        "validation": DataLoader(sets["validation"], 64),
        "test": DataLoader(sets["test"], 64),
        "recovery": Recipe(steps=500, learning_rate=0.01, distillation=0.9),
    }
    return Task(**given | of_task)


def timm_model(name: str, **options: Any) -> nn.Module:
    """Return a model of timm; its weights are random unless ``options`` of ``timm.create_model`` say otherwise.

    Raises:
        UserError: timm is not installed or has no such model.
    """
    need("timm", f"timm:{name}")
    import timm

    try:
        return timm.create_model(name, **options)
    except Exception as error:
        raise UserError(f"from_timm: {' '.join(str(error).split())} (timm.list_models() has the names)") from None


def own_shape(model: nn.Module) -> str:
    """Return the shape of one image that a model of timm was made for, such as ``1,3,224,224``."""
    import timm

    return ",".join(map(str, (1, *timm.data.resolve_model_data_config(model)["input_size"])))


def _folder(root: Path, split: str) -> Path:
    found = next((root / name for name in FOLDERS[split] if (root / name).is_dir()), None)
    if found is None:
        raise UserError(f"from_timm: {root} has no folder {FOLDERS[split][0]} with a folder of images for each class")
    return found

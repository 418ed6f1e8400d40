"""The benchmark's two tasks: small networks on subsets of real data, so that one candidate costs seconds."""

from __future__ import annotations

from functools import partial

import torch
from torch.utils.data import TensorDataset

from autoprune.base.files import cache_dir, data_dir
from autoprune.errors import UserError
from autoprune.task.builtin import fashion_mnist as full_fashion_mnist
from autoprune.task.models.resnet import ResNet
from autoprune.task.models.vgg import VGG
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

TRAIN, VALIDATION = 20_000, 2_000
"""Images that the benchmark trains on and searches with; the test split is the whole one (10,000 images)."""


def fashion_mnist() -> Splits:
    """Fashion-MNIST, shape (1, 28, 28): the first images of the built-in task's splits, and its whole test split."""
    splits = full_fashion_mnist.data()
    train, validation = (
        TensorDataset(*(tensor[:count] for tensor in split.tensors))
        for split, count in ((splits.train, TRAIN), (splits.validation, VALIDATION))
    )
    return Splits(train, validation, splits.test)


def cifar10() -> Splits:
    """CIFAR-10, shape (3, 32, 32), each training image also mirrored.

    Raises:
        UserError: the data set is not there.
    """
    folder = data_dir() / "cifar10"
    if not (folder / "train").is_dir():
        raise UserError(
            f"CIFAR-10 is not in {folder}: put its images there, as train/CLASS/*.png and test/CLASS/*.png, "
            "or set AUTOPRUNE_DATA to the folder that holds cifar10/"
        )
    file = cache_dir() / "cifar10.pt"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({split: _images(folder / split) for split in ("train", "test")}, file)
    raw = torch.load(file, weights_only=True)
    order = torch.randperm(50_000, generator=torch.Generator().manual_seed(0))[: TRAIN + VALIDATION]
    train, validation = ([tensor[part] for tensor in raw["train"]] for part in order.split([TRAIN, VALIDATION]))
    images, labels = train
    mirrored = [torch.cat([images, images.flip(-1)]), torch.cat([labels, labels])]
    return Splits(*(TensorDataset(_normalised(x), y) for x, y in (mirrored, validation, raw["test"])))


def _images(folder) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images of a folder of classes, as bytes of shape (N, 3, 32, 32), and their labels."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    images, labels = zip(*((pil_to_tensor(image), label) for image, label in ImageFolder(folder)), strict=True)
    return torch.stack(images), torch.tensor(labels)


def _normalised(images: torch.Tensor) -> torch.Tensor:
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)))
    return (images.float() / 255 - mean) / deviation


vgg = Task(
    name="benchmark_vgg",
    model=partial(VGG, ("M", 16, 32, "M", 64, 64, "M", 128, 128), hidden=64, in_channels=1),
    data=fashion_mnist,
    example_input=torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=2000, learning_rate=0.05),
    # python experiments/benchmark/tune_recipe.py vgg --trials 16
    recovery=Recipe(steps=100, learning_rate=0.026, distillation=0.6, temperature=1.0),
)
"""A VGG-style network, whose layers differ much in redundancy."""

resnet = Task(
    name="benchmark_resnet",
    model=partial(ResNet, depth=8, widths=(16, 32, 64), stem_stride=2),
    data=cifar10,
    example_input=torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=5000, learning_rate=0.1),
    # python experiments/benchmark/tune_recipe.py resnet --trials 16
    recovery=Recipe(steps=100, learning_rate=0.034, distillation=0.3, temperature=8.0),
)
"""A CIFAR-style residual network, whose layers differ little."""

TASKS = {"vgg": vgg, "resnet": resnet}
"""Name on the command line -> task."""

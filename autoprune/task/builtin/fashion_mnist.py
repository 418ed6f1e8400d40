"""Fashion-MNIST (Xiao et al. 2017) in torchvision's layout: LeNet-5 and a CIFAR-style ResNet-20."""

from functools import partial

import torch
from torch.utils.data import TensorDataset

from autoprune.base.files import data_dir
from autoprune.errors import UserError
from autoprune.task.models.lenet import LeNet5
from autoprune.task.models.resnet import ResNet
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task


def data() -> Splits:
    """55,000 training, 5,000 validation and 10,000 test images, shape (1, 28, 28), normalised.

    Raises:
        UserError: the data set is not there, with the command that gets it.
    """
    from torchvision.datasets import FashionMNIST

    root = data_dir()
    try:
        train, test = (FashionMNIST(root, train=split) for split in (True, False))
    except RuntimeError:
        raise UserError(
            f'Fashion-MNIST is not in {root}: get it with `python -c "from torchvision.datasets import FashionMNIST; '
            f"FashionMNIST('{root}', download=True)\"`, or set AUTOPRUNE_DATA to the folder that holds FashionMNIST/raw"
        ) from None

    def tensors(images, labels):
        return TensorDataset(((images.float() / 255 - 0.2860) / 0.3530).unsqueeze(1), labels)

    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))
    train, validation = (tensors(train.data[part], train.targets[part]) for part in order.split([55_000, 5_000]))
    return Splits(train, validation, tensors(test.data, test.targets))


lenet5 = Task(
    name="fashion_mnist",
    model=LeNet5,
    data=data,
    example=torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=1000, batch_size=128, learning_rate=0.05),
    recovery=Recipe(steps=300, batch_size=128, learning_rate=0.02, distillation=0.9),
)

resnet20 = Task(
    name="fashion_mnist_resnet20",
    model=partial(ResNet, depth=20, in_channels=1),
    data=data,
    example=torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=800, batch_size=128, learning_rate=0.1),
    recovery=Recipe(steps=100, batch_size=128, learning_rate=0.02, distillation=0.9),
)

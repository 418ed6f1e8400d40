"""scikit-learn's handwritten digits: 1,797 real 8x8 images, bundled, no download."""

import torch
from torch.utils.data import TensorDataset

from autoprune.task.models.digits import DigitsNet
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task


def data() -> Splits:
    """1,077 training, 360 validation and 360 test images, shape (1, 8, 8), scaled to [0, 1]; a fixed shuffle."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).split([1077, 360, 360])
    return Splits(*(TensorDataset(x[part], y[part]) for part in order))


task = Task(
    name="digits",
    model=DigitsNet,
    data=data,
    example=torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=400, learning_rate=0.03),
    recovery=Recipe(steps=150, learning_rate=0.02, distillation=0.9),
)

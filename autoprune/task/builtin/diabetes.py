"""scikit-learn's diabetes data (Efron et al. 2004): 442 patients, how far the disease is a year later; regression."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from autoprune.task.models.mlp import MLP
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task


def data() -> Splits:
    """265 training, 88 validation and 89 test patients: ten measurements, and the progression, shape (1,).

    All are standardised by the training split: a mean of 0 and a standard deviation of 1. So an error of 1 is what
    guessing the mean gives.
    """
    from sklearn.datasets import load_diabetes

    table, progression = load_diabetes(return_X_y=True, scaled=False)
    x = torch.tensor(table, dtype=torch.float32)
    y = torch.tensor(progression, dtype=torch.float32).unsqueeze(1)
    parts = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).split([265, 88, 89])
    return Splits(*(TensorDataset(*(_standardised(each, parts[0])[part] for each in (x, y))) for part in parts))


def _standardised(values: Tensor, reference: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(values[reference], 0)
    return (values - mean) / deviation


def squared_error(outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean squared error."""
    return F.mse_loss(outputs, batch[1])


task = Task(
    name="diabetes",
    model=partial(MLP, inputs=10, width=64, outputs=1),
    data=data,
    example=torch.randn(1, 10, generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=200, batch_size=32, learning_rate=0.01, weight_decay=0.01),
    recovery=Recipe(steps=100, batch_size=32, learning_rate=0.005, weight_decay=0.01, distillation=0.5),
    loss=squared_error,
    metric="rmse",
)

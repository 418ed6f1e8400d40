"""Learning from a teacher's outputs."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def distillation_loss(outputs: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened class probabilities, times the squared temperature (Hinton et al. 2015).

    Args:
        outputs: student logits, shape ``(N, classes)``.
        target: teacher logits, same shape.
    """
    student, teacher = (F.log_softmax(logits / temperature, dim=-1) for logits in (outputs, target))
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2

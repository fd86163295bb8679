"""What a sub-network is asked to match: labels, a teacher's soft output, or both."""

import torch.nn.functional as F
from torch import Tensor

from .phases import Objective


def label_loss(logits_NC: Tensor, labels_N: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy with label smoothing: the target is (1 - s) * one-hot + s / classes (Szegedy et al., 2016)."""
    return F.cross_entropy(logits_NC, labels_N, label_smoothing=label_smoothing)


def soft_loss(logits_NC: Tensor, teacher_NC: Tensor) -> Tensor:
    """Mean cross entropy against a teacher's probabilities at temperature 1 (Hinton et al., 2015)."""
    return F.cross_entropy(logits_NC, teacher_NC)


def subnet_loss(logits_NC: Tensor, labels_N: Tensor, teacher_NC: Tensor | None, objective: Objective) -> Tensor:
    """The weighted loss of one sub-network; `teacher_NC` are probabilities, None where it has no teacher.

    Computed in float32 at least, also under mixed precision: a cross entropy in bfloat16 loses small probabilities.
    """
    logits_NC = logits_NC.float() if logits_NC.itemsize < 4 else logits_NC
    if teacher_NC is None:
        return label_loss(logits_NC, labels_N, objective.label_smoothing)
    loss = objective.kd_ratio * soft_loss(logits_NC, teacher_NC)
    if objective.label_ratio:
        loss = loss + objective.label_ratio * label_loss(logits_NC, labels_N, objective.label_smoothing)
    return loss

"""One training step: the gradients of several sub-networks, then one update."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..space import Arch
from .losses import subnet_loss
from .phases import Objective


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images_NCHW: Tensor,
    labels_N: Tensor,
    archs: Sequence[Arch | None],
    objective: Objective,
    *,
    teacher_logits_NC: Tensor | None = None,
    autocast_dtype: torch.dtype | None = None,
    micro_batch_size: int | None = None,
    clip_gradient_norm: float | None = None,
    set_to_none: bool = True,
    average_gradients: Callable[[Sequence[nn.Parameter]], None] | None = None,
    only: str | None = None,
) -> Tensor:
    """Train `model` on one batch and return the loss of every sub-network, shape (len(archs),), detached.

    With `set_to_none` (the default), a weight that no sub-network of the step used is left exactly as it is. Without,
    it keeps a zero gradient once it had any, so it drifts with its momentum and decays, as under PyTorch before 2.0;
    for kernel matrices that begin as an identity this means fading before they are ever used. Which weights have a
    gradient depends on the architectures alone, so all processes of a run agree on it.

    Args:
        model: a supernet, or a plain network with `archs=(None,)`.
        optimizer: its learning rate is used as it is.
        archs: one forward and backward pass each.
        objective: losses and their weights; "teacher" needs `teacher_logits_NC`.
        autocast_dtype: bfloat16 for mixed precision; None: the precision of the weights.
        micro_batch_size: images that pass at once; batch norm sees them alone, gradients are those of the mean loss
            over the whole batch. None: all images.
        clip_gradient_norm: largest norm of the whole gradient.
        average_gradients: called with the parameters that have gradients, between the passes and the update.
        only: part of the names of the weights that change; others stay exactly as they are. None: all change.
    """
    optimizer.zero_grad(set_to_none)
    pieces = [images_NCHW, labels_N] if teacher_logits_NC is None else [images_NCHW, labels_N, teacher_logits_NC]
    losses = []
    for images, labels, *logits in zip(*(micro_batches(piece, micro_batch_size) for piece in pieces), strict=True):
        share = len(images) / len(images_NCHW)
        passed = accumulate_gradients(
            model,
            images,
            labels,
            archs,
            objective,
            teacher_logits_NC=logits[0] if logits else None,
            autocast_dtype=autocast_dtype,
            share=share,
        )
        losses.append(share * passed)
    if only is not None:
        for name, parameter in model.named_parameters():
            if only not in name:
                parameter.grad = None
    if average_gradients is not None:
        average_gradients([parameter for parameter in model.parameters() if parameter.grad is not None])
    if clip_gradient_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip_gradient_norm)
    optimizer.step()
    return torch.stack(losses).sum(0)


def micro_batches(tensor: Tensor, size: int | None) -> Sequence[Tensor]:
    """The fewest parts of at most `size` images, as equal as can be; the whole when `size` is None."""
    return tensor.tensor_split(-(-len(tensor) // size)) if size else (tensor,)


def accumulate_gradients(
    model: nn.Module,
    images_NCHW: Tensor,
    labels_N: Tensor,
    archs: Sequence[Arch | None],
    objective: Objective,
    *,
    teacher_logits_NC: Tensor | None = None,
    autocast_dtype: torch.dtype | None = None,
    share: float = 1.0,
) -> Tensor:
    """Add the gradients of all sub-networks to the parameters; arguments and result as in `train_step`.

    Gradients are multiplied by `share`, the part of a step's images that these are. Each sub-network goes forward and
    backward before the next begins, so that only one graph is ever in memory.
    """
    teacher_NC = None if teacher_logits_NC is None else _probabilities(teacher_logits_NC)
    if objective.distill == "teacher" and teacher_NC is None:
        raise ValueError("distillation from a teacher needs teacher_logits_NC")
    scale = share * objective.scale(len(archs))
    losses = []
    for arch in archs:
        logits_NC = forward(model, images_NCHW, arch, autocast_dtype)
        loss = subnet_loss(logits_NC, labels_N, teacher_NC, objective)
        (loss * scale).backward()
        losses.append(loss.detach())
        if objective.distill == "inplace" and teacher_NC is None:
            teacher_NC = _probabilities(logits_NC.detach())
    return torch.stack(losses)


def forward(
    model: nn.Module, images_NCHW: Tensor, arch: Arch | None = None, autocast_dtype: torch.dtype | None = None
) -> Tensor:
    """Logits (N, C) of a supernet at an architecture, or of a plain network, under mixed precision when asked."""
    with torch.autocast(images_NCHW.device.type, autocast_dtype, enabled=autocast_dtype is not None):
        return model(images_NCHW) if arch is None else model(images_NCHW, arch)


def _probabilities(logits_NC: Tensor) -> Tensor:
    return (logits_NC.float() if logits_NC.itemsize < 4 else logits_NC).softmax(dim=1)

"""Channel sorting: permute middle channels by importance, so that a prefix keeps the best of them.

The function of the largest network does not change; narrower ones get better slices (Once-for-All, section 3.2).
Where training leaves the largest widths out, channels it never reached stay behind those it did and have no say.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .blocks import ElasticBottleneck, ElasticMBConv, ElasticResidual
from .norm import ElasticBatchNorm2d


def sorted_order(importance: Tensor, boundaries: Sequence[int] = ()) -> Tensor:
    """Indices by descending importance, never across a boundary.

    Earlier phases have trained the prefixes that end at the boundaries, so channels only move inside a group. The sort
    is stable: equal importances keep their order on every device.

    Args:
        importance: (channels,).
        boundaries: channel counts at which a group ends, in any order.
    """
    edges = sorted({0, len(importance), *boundaries})
    groups = [
        first + torch.sort(importance[first:last], descending=True, stable=True).indices
        for first, last in pairwise(edges)
    ]
    return torch.cat(groups)


def _input_importance(weight: Tensor, outputs: int | None = None) -> Tensor:
    """L1 norm of what reads a channel, per input channel of a convolution weight (O, I, k, k); its first `outputs`."""
    return weight.detach()[:outputs].abs().sum((0, 2, 3))


def _permute(tensor: Tensor | None, order: Tensor, dim: int = 0) -> None:
    assert tensor is not None
    tensor.data.copy_(tensor.data.index_select(dim, order))


def _permute_norm(norm: ElasticBatchNorm2d, order: Tensor) -> None:
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        _permute(tensor, order)


@torch.no_grad()
def sort_mbconv(block: ElasticMBConv, boundaries: Sequence[int] = (), out_width: int | None = None) -> None:
    """Sort the middle channels of an inverted bottleneck by what the projection reads, then those inside the SE.

    Args:
        boundaries: see `sorted_order`; the largest is the middle width of the widest network that is trained.
        out_width: output channels of that network; None: all.
    """
    order = sorted_order(_input_importance(block.project.weight, out_width), boundaries)
    _permute(block.project.weight, order, dim=1)
    _permute_norm(block.depthwise_bn, order)
    _permute(block.depthwise.weight, order)
    _permute_norm(block.expand_bn, order)
    _permute(block.expand.weight, order)
    if block.squeeze_excite is not None:
        reduce, expand = block.squeeze_excite.reduce, block.squeeze_excite.expand
        _permute(expand.weight, order)
        _permute(expand.bias, order)
        _permute(reduce.weight, order, dim=1)
        middle = max(boundaries, default=len(order))
        inner = sorted_order(_input_importance(expand.weight, middle), [block.squeeze_excite.squeeze_width(middle)])
        _permute(expand.weight, inner, dim=1)
        _permute(reduce.weight, inner)
        _permute(reduce.bias, inner)


@torch.no_grad()
def sort_outputs(
    writers: Sequence[ElasticMBConv], readers: Sequence[tuple[Tensor, int]], boundaries: Sequence[int] = ()
) -> None:
    """Sort the channels that blocks write and convolutions read, in one order for all of them.

    Where several blocks write to the same reader (the last block that runs, whichever it is) the order of a narrow
    writer must be the beginning of that of a wide one, so channels do not cross the width of a writer or reader.

    Args:
        writers: each writes a prefix of the channels.
        readers: weights (out, in, 1, 1), each of which reads a prefix, and how many of their outputs count; together
            they say how important a channel is.
        boundaries: see `sorted_order`.
    """
    widths = [block.out_width for block in writers] + [weight.shape[1] for weight, _ in readers]
    importance = readers[0][0].new_zeros(max(widths))
    for weight, outputs in readers:
        importance[: weight.shape[1]] += _input_importance(weight, outputs)
    order = sorted_order(importance, [*boundaries, *widths])
    for block in writers:
        _permute(block.project.weight, order[: block.out_width])
        _permute_norm(block.project_bn, order[: block.out_width])
    for weight, _ in readers:
        _permute(weight, order[: weight.shape[1]], dim=1)


@torch.no_grad()
def sort_residual(block: ElasticResidual, boundaries: Sequence[int] = ()) -> None:
    """Sort the middle channels of a residual block by what its second convolution reads."""
    order = sorted_order(_input_importance(block.conv2.weight), boundaries)
    _permute(block.conv2.weight, order, dim=1)
    _permute_norm(block.bn1, order)
    _permute(block.conv1.weight, order)


@torch.no_grad()
def sort_bottleneck(block: ElasticBottleneck, boundaries: Sequence[int] = (), out_width: int | None = None) -> None:
    """Sort what the third convolution of a bottleneck reads, then what the second reads; outer widths stay.

    Args: see `sort_mbconv`.
    """
    order = sorted_order(_input_importance(block.conv3.weight, out_width), boundaries)
    _permute(block.conv3.weight, order, dim=1)
    _permute_norm(block.bn2, order)
    _permute(block.conv2.weight, order)
    order = sorted_order(_input_importance(block.conv2.weight, max(boundaries, default=None)), boundaries)
    _permute(block.conv2.weight, order, dim=1)
    _permute_norm(block.bn1, order)
    _permute(block.conv1.weight, order)

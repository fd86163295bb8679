"""How a choice turns stored weights into active ones: pure functions on tensors.

Every slice is a prefix: a narrower layer uses the first channels of the widest (Cai et al., ICLR 2020).
Shapes: convolution weights are (out, in, height, width).
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor


def slice_conv(weight: Tensor, out_channels: int, in_channels: int) -> Tensor:
    """The first `out_channels` filters over the first `in_channels` inputs; the weight itself when nothing is cut."""
    if weight.shape[:2] == (out_channels, in_channels):
        return weight
    return weight[:out_channels, :in_channels]


def kernel_transform_name(larger: int, smaller: int) -> str:
    """Key of the matrix that turns a kernel of one size into the next smaller one."""
    return f"{larger}to{smaller}"


def shrink_kernel(
    weight: Tensor, kernel_size: int, kernel_sizes: Sequence[int], transforms: Mapping[str, Tensor]
) -> Tensor:
    """Reduce depth-wise kernels step by step to `kernel_size`: crop the centre, then apply the learned matrix.

    The chain starts at the largest size and passes every size in between, so a 3x3 kernel is made from the
    transformed 5x5 (Once-for-All, section 3.2). One matrix a step is shared by all channels.

    Args:
        weight: (channels, 1, k, k) with k the last of `kernel_sizes`.
        kernel_sizes: all sizes, ascending.
        transforms: per step a (s*s, s*s) matrix, keyed by `kernel_transform_name`; a step without one only crops.

    Returns:
        (channels, 1, kernel_size, kernel_size).
    """
    for larger, smaller in zip(kernel_sizes[:0:-1], kernel_sizes[-2::-1], strict=True):
        if larger <= kernel_size:
            break
        border = (larger - smaller) // 2
        weight = weight[:, :, border : border + smaller, border : border + smaller]
        matrix = transforms.get(kernel_transform_name(larger, smaller))
        if matrix is not None:
            weight = F.linear(weight.flatten(1), matrix).view(-1, 1, smaller, smaller)
    return weight

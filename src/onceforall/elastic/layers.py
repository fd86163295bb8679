"""Elastic layers: modules that hold the widest weights and take the active width as an argument."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..space.layouts import MobileLayout
from .functional import kernel_transform_name, shrink_kernel, slice_conv


class ElasticConv2d(nn.Module):
    """A dense convolution without bias whose input and output channels are prefixes.

    `forward(x, out_channels)` reads the input width from x. Padding keeps the map (odd kernels).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.stride = stride
        self.padding = kernel_size // 2

    def active_weight(self, out_channels: int, in_channels: int) -> Tensor:
        """The weight a network of this width uses, (out_channels, in_channels, k, k)."""
        return slice_conv(self.weight, out_channels, in_channels)

    def forward(self, x_NCHW: Tensor, out_channels: int) -> Tensor:
        weight = self.active_weight(out_channels, x_NCHW.shape[1])
        return F.conv2d(x_NCHW, weight, stride=self.stride, padding=self.padding)


class ElasticDepthwiseConv2d(nn.Module):
    """A depth-wise convolution of elastic kernel size.

    Smaller kernels are learned functions of the largest, or without `transforms` its plain centre.
    """

    def __init__(self, channels: int, kernel_sizes: tuple[int, ...], stride: int = 1, transforms: bool = True) -> None:
        super().__init__()
        self.kernel_sizes = kernel_sizes
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel_sizes[-1], kernel_sizes[-1]))
        steps = zip(kernel_sizes[1:], kernel_sizes[:-1], strict=True) if transforms else ()
        self.transforms = nn.ParameterDict(
            {
                kernel_transform_name(larger, smaller): nn.Parameter(torch.eye(smaller * smaller))
                for larger, smaller in steps
            }
        )

    def active_weight(self, channels: int, kernel_size: int) -> Tensor:
        """The kernels a network of this width and kernel size uses, (channels, 1, kernel_size, kernel_size)."""
        weight = slice_conv(self.weight, channels, 1)
        return shrink_kernel(weight, kernel_size, self.kernel_sizes, dict(self.transforms.items()))

    def forward(self, x_NCHW: Tensor, kernel_size: int) -> Tensor:
        channels = x_NCHW.shape[1]
        weight = self.active_weight(channels, kernel_size)
        return F.conv2d(x_NCHW, weight, stride=self.stride, padding=kernel_size // 2, groups=channels)


class ElasticLinear(nn.Linear):
    """A linear layer that reads as many of its inputs as x has; the outputs are all there."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight[:, : input.shape[-1]], self.bias)


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-and-excite with a hard-sigmoid gate; its inner width is `squeeze_width` of the active input width."""

    def __init__(self, channels: int, squeeze_width: Callable[[int], int] = MobileLayout.squeeze_width) -> None:
        super().__init__()
        self.squeeze_width = squeeze_width
        inner = squeeze_width(channels)
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        channels = x_NCHW.shape[1]
        inner = self.squeeze_width(channels)
        gate = x_NCHW.mean((2, 3), keepdim=True)
        gate = F.conv2d(gate, slice_conv(self.reduce.weight, inner, channels), self._bias(self.reduce, inner))
        gate = F.relu(gate)
        gate = F.conv2d(gate, slice_conv(self.expand.weight, channels, inner), self._bias(self.expand, channels))
        return x_NCHW * F.hardsigmoid(gate)

    @staticmethod
    def _bias(conv: nn.Conv2d, channels: int) -> Tensor:
        assert conv.bias is not None  # both convolutions are built with one
        return conv.bias[:channels]

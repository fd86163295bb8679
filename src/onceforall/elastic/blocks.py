"""Elastic blocks: the unit that depth adds or drops, with elastic kernel size and middle width."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from ..space import MobileLayout
from .layers import ElasticConv2d, ElasticDepthwiseConv2d, ElasticSqueezeExcite
from .norm import ElasticBatchNorm2d

ACTIVATIONS = {"relu": F.relu, "relu6": F.relu6, "hard_swish": F.hardswish}


class ElasticMBConv(nn.Module):
    """Inverted bottleneck: 1x1 expand, depth-wise k x k, (squeeze-excite), 1x1 project; batch norm after each.

    `forward(x, kernel_size, middle_width, out_width)` reads the input width from x; without `out_width` the output has
    all its channels. An identity shortcut is added when stride is 1 and the largest widths are equal.
    """

    def __init__(
        self,
        in_width: int,
        middle_width: int,
        out_width: int,
        kernel_sizes: tuple[int, ...],
        stride: int,
        activation: str,
        squeeze_excite: bool,
        bn_eps: float,
        kernel_transforms: bool = True,
        squeeze_width: Callable[[int], int] = MobileLayout.squeeze_width,
    ) -> None:
        super().__init__()
        self.out_width = out_width
        self.shortcut = stride == 1 and in_width == out_width
        self.activation = ACTIVATIONS[activation]
        self.expand = ElasticConv2d(in_width, middle_width)
        self.expand_bn = ElasticBatchNorm2d(middle_width, eps=bn_eps)
        self.depthwise = ElasticDepthwiseConv2d(middle_width, kernel_sizes, stride, kernel_transforms)
        self.depthwise_bn = ElasticBatchNorm2d(middle_width, eps=bn_eps)
        self.squeeze_excite = ElasticSqueezeExcite(middle_width, squeeze_width) if squeeze_excite else None
        self.project = ElasticConv2d(middle_width, out_width)
        self.project_bn = ElasticBatchNorm2d(out_width, eps=bn_eps)

    def forward(self, x_NCHW: Tensor, kernel_size: int, middle_width: int, out_width: int | None = None) -> Tensor:
        y = self.activation(self.expand_bn(self.expand(x_NCHW, middle_width)))
        y = self.activation(self.depthwise_bn(self.depthwise(y, kernel_size)))
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        y = self.project_bn(self.project(y, out_width or self.out_width))
        return x_NCHW + y if self.shortcut else y


class ElasticResidual(nn.Module):
    """Two dense 3x3 convolutions around an elastic middle width; relu after the sum with the shortcut.

    The shortcut is the identity, or a strided 1x1 convolution with batch norm where the shape changes (He et al. 2016,
    option B).
    """

    def __init__(self, in_width: int, middle_width: int, out_width: int, stride: int, bn_eps: float) -> None:
        super().__init__()
        self.out_width = out_width
        self.conv1 = ElasticConv2d(in_width, middle_width, 3, stride)
        self.bn1 = ElasticBatchNorm2d(middle_width, eps=bn_eps)
        self.conv2 = ElasticConv2d(middle_width, out_width, 3)
        self.bn2 = ElasticBatchNorm2d(out_width, eps=bn_eps)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or in_width != out_width:
            conv = nn.Conv2d(in_width, out_width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_width, eps=bn_eps))

    def forward(self, x_NCHW: Tensor, middle_width: int) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x_NCHW, middle_width)))
        y = self.bn2(self.conv2(y, self.out_width))
        return F.relu(y + (x_NCHW if self.shortcut is None else self.shortcut(x_NCHW)))


class ElasticBottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolution, all of elastic width; relu after the sum with the shortcut.

    `forward(x, middle_width, out_width)` reads the input width from x. The first block of a stage has a projection as
    shortcut, behind an average pooling when it strides (ResNet-D, He et al., CVPR 2019); others the identity.
    """

    def __init__(
        self, in_width: int, middle_width: int, out_width: int, stride: int, project: bool, bn_eps: float
    ) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = ElasticConv2d(in_width, middle_width)
        self.bn1 = ElasticBatchNorm2d(middle_width, eps=bn_eps)
        self.conv2 = ElasticConv2d(middle_width, middle_width, 3, stride)
        self.bn2 = ElasticBatchNorm2d(middle_width, eps=bn_eps)
        self.conv3 = ElasticConv2d(middle_width, out_width)
        self.bn3 = ElasticBatchNorm2d(out_width, eps=bn_eps)
        self.shortcut = ElasticConv2d(in_width, out_width) if project else None
        self.shortcut_bn = ElasticBatchNorm2d(out_width, eps=bn_eps) if project else None

    def forward(self, x_NCHW: Tensor, middle_width: int, out_width: int) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x_NCHW, middle_width)))
        y = F.relu(self.bn2(self.conv2(y, middle_width)))
        y = self.bn3(self.conv3(y, out_width))
        if self.shortcut is None or self.shortcut_bn is None:
            return F.relu(y + x_NCHW)
        x = F.avg_pool2d(x_NCHW, self.stride, self.stride, ceil_mode=True) if self.stride > 1 else x_NCHW
        return F.relu(y + self.shortcut_bn(self.shortcut(x, out_width)))

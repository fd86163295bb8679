"""The ResNet-50-D supernet of elastic widths; its sub-networks are timm's ByobNet."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..elastic import ElasticBatchNorm2d, ElasticBottleneck, ElasticConv2d, ElasticLinear
from ..elastic.importance import sort_bottleneck
from ..space import Arch, BottleneckLayout, SearchSpace
from .base import Supernet, copy_conv, copy_norm


class ElasticConvNorm(nn.Module):
    """3x3 convolution, batch norm and relu of elastic width."""

    def __init__(self, in_width: int, out_width: int, stride: int, bn_eps: float) -> None:
        super().__init__()
        self.conv = ElasticConv2d(in_width, out_width, 3, stride)
        self.bn = ElasticBatchNorm2d(out_width, eps=bn_eps)

    def forward(self, x_NCHW: Tensor, out_width: int) -> Tensor:
        return F.relu(self.bn(self.conv(x_NCHW, out_width)))


class BottleneckSupernet(Supernet):
    """Once-for-All ResNet-50-D: elastic depth, expand ratio and widths, and a stem block that can be skipped.

    `stages[0]` holds the residual block of the stem, which stands between its first and last convolution.
    """

    def __init__(self, space: SearchSpace, dropout: float = 0.0) -> None:
        super().__init__(space)
        layout = space.layout
        assert isinstance(layout, BottleneckLayout)
        self.layout = layout
        self.dropout = dropout
        middle, stem, *widths = layout.widths((layout.width_mults[-1],) * len(layout.width_names))
        self.stem_first = ElasticConvNorm(layout.in_chans, middle, layout.stem_stride, layout.bn_eps)
        self.stem_last = ElasticConvNorm(middle, stem, 1, layout.bn_eps)
        self.stages = nn.ModuleList([nn.ModuleList([ElasticConvNorm(middle, middle, 1, layout.bn_eps)])])
        in_width = stem
        for stage_layout, width in zip(layout.stages[1:], widths, strict=True):
            blocks = nn.ModuleList()
            for block in range(stage_layout.max_depth):
                blocks.append(
                    ElasticBottleneck(
                        in_width=in_width,
                        middle_width=layout.middle_width(width, layout.expand_ratios[-1]),
                        out_width=width,
                        stride=stage_layout.stride if block == 0 else 1,
                        project=block == 0,
                        bn_eps=layout.bn_eps,
                    )
                )
                in_width = width
            self.stages.append(blocks)
        self.classifier = ElasticLinear(in_width, layout.num_classes)
        self.reset_parameters()

    @property
    def stem_block(self) -> ElasticConvNorm:
        """The part of the stem that depth 0 of its stage leaves out."""
        return cast(ElasticConvNorm, cast(nn.ModuleList, self.stages[0])[0])

    def block(self, stage: int, block: int) -> ElasticBottleneck:
        """The bottleneck at a position (both count from 0; stages from 1 on hold bottlenecks)."""
        return cast(ElasticBottleneck, cast(nn.ModuleList, self.stages[stage])[block])

    def forward(self, x_NCHW: Tensor, arch: Arch | None = None) -> Tensor:
        arch = self.space.largest if arch is None else arch
        middle, stem, *widths = self.layout.widths(arch.width_mults)
        x = self.stem_first(x_NCHW, middle)
        if arch.stages[0]:
            x = x + self.stem_block(x, middle)
        x = F.max_pool2d(self.stem_last(x, stem), 3, 2, padding=1)
        for stage, (choices, width) in enumerate(zip(arch.stages[1:], widths, strict=True), start=1):
            for block, choice in enumerate(choices):
                x = self.block(stage, block)(x, self.layout.middle_width(width, choice.expand_ratio), width)
        return self.classifier(F.dropout(x.mean((2, 3)), self.dropout, self.training))

    def sort_channels(self, phase: int = 0, trained: SearchSpace | None = None) -> None:
        space = trained or self.space
        _, _, *out_widths = self.layout.widths(space.largest.width_mults)
        for stage, (choices, width) in enumerate(zip(space.stages[1:], out_widths, strict=True), start=1):
            widths = [self.layout.middle_width(width, ratio) for ratio in choices.ratios]
            for index in range(self.layout.stages[stage].max_depth):
                sort_bottleneck(self.block(stage, index), self.group_boundaries(widths, phase), width)

    def extract(self, arch: Arch) -> nn.Module:
        """A timm `ByobNet` in eval mode with copies of the weights. Raises InvalidArch."""
        self.space.validate(arch, any_resolution=True)
        with torch.device("meta"):
            network = build_timm_byobnet(self.layout, arch, self.dropout)
        first = network.stem.conv1
        if arch.stages[0]:
            first, block = first
            _copy_conv_norm(block.conv, self.stem_block.conv, self.stem_block.bn)
        _copy_conv_norm(first, self.stem_first.conv, self.stem_first.bn)
        _copy_conv_norm(network.stem.conv2, self.stem_last.conv, self.stem_last.bn)
        for stage, choices in enumerate(arch.stages[1:], start=1):
            for index in range(len(choices)):
                target, source = network.stages[stage - 1][index], self.block(stage, index)
                _copy_conv_norm(target.conv1_1x1, source.conv1, source.bn1)
                _copy_conv_norm(target.conv2_kxk, source.conv2, source.bn2)
                _copy_conv_norm(target.conv3_1x1, source.conv3, source.bn3)
                if source.shortcut is not None and source.shortcut_bn is not None:
                    _copy_conv_norm(target.shortcut.conv, source.shortcut, source.shortcut_bn)
        head = network.head.fc
        copy_conv(head, self.classifier.weight[:, : head.in_features], self.classifier.bias)
        return network.eval()


def _copy_conv_norm(target: Any, conv: ElasticConv2d, norm: ElasticBatchNorm2d) -> None:
    copy_conv(target.conv, conv.active_weight(*target.conv.weight.shape[:2]))
    copy_norm(target.bn, norm)


class ResidualConv(nn.Module):
    """The residual block inside the stem: 3x3 convolution, batch norm, relu, plus its input; no activation after."""

    def __init__(self, width: int) -> None:
        super().__init__()
        from timm.layers.conv_bn_act import ConvNormAct

        self.conv = ConvNormAct(width, width, 3)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW + self.conv(x_NCHW)


def build_timm_byobnet(layout: BottleneckLayout, arch: Arch, dropout: float = 0.0) -> Any:
    """timm's ByobNet of an architecture, with fresh weights.

    timm has no stem with a residual block, so where the architecture has one it follows the stem's first convolution.
    """
    from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

    middle, stem, *widths = layout.widths(arch.width_mults)
    stages = []
    for stage_layout, choices, width in zip(layout.stages[1:], arch.stages[1:], widths, strict=True):
        ratios = [layout.middle_width(width, choice.expand_ratio) / width for choice in choices]
        stages.append(tuple(ByoBlockCfg("bottle", 1, width, stage_layout.stride, br=ratio) for ratio in ratios))
    config = ByoModelCfg(
        tuple(stages), downsample="avg", stem_type="", stem_pool="maxpool", stem_chs=(middle, stem), act_layer="relu"
    )
    network: Any = ByobNet(
        config, num_classes=layout.num_classes, in_chans=layout.in_chans, drop_rate=dropout, zero_init_last=False
    )
    network.stem.conv1.conv.stride = (layout.stem_stride, layout.stem_stride)
    if arch.stages[0]:
        network.stem.conv1 = nn.Sequential(network.stem.conv1, ResidualConv(middle))
    return network

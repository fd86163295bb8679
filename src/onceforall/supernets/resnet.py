"""The small-image residual supernet: dense 3x3 blocks with elastic middle width and depth."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..elastic import ElasticResidual
from ..elastic.importance import sort_residual
from ..space import Arch, ResidualLayout, SearchSpace
from .base import Supernet, copy_conv, copy_norm


class ResidualSupernet(Supernet):
    """Stem, stages of `ElasticResidual` blocks, global average pooling, classifier."""

    def __init__(self, space: SearchSpace, dropout: float = 0.0) -> None:
        super().__init__(space)
        layout = space.layout
        assert isinstance(layout, ResidualLayout)
        self.layout = layout
        self.dropout = dropout
        self.stem = nn.Conv2d(layout.in_chans, layout.stem_width, 3, layout.stem_stride, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(layout.stem_width, eps=layout.bn_eps)
        self.stages = nn.ModuleList(
            nn.ModuleList(self._build_block(stage, block) for block in range(stage_layout.max_depth))
            for stage, stage_layout in enumerate(layout.stages)
        )
        self.classifier = nn.Linear(layout.stages[-1].width, layout.num_classes)
        self.reset_parameters()

    def _build_block(self, stage: int, block: int) -> ElasticResidual:
        stage_layout = self.layout.stages[stage]
        return ElasticResidual(
            in_width=self.layout.in_width(stage, block),
            middle_width=self.layout.middle_width(stage, block, self.layout.expand_ratios[-1]),
            out_width=stage_layout.width,
            stride=stage_layout.stride if block == 0 else 1,
            bn_eps=self.layout.bn_eps,
        )

    def block(self, stage: int, block: int) -> ElasticResidual:
        """The elastic block at a position (both count from 0)."""
        return cast(ElasticResidual, cast(nn.ModuleList, self.stages[stage])[block])

    def forward(self, x_NCHW: Tensor, arch: Arch | None = None) -> Tensor:
        arch = self.space.largest if arch is None else arch
        x = F.relu(self.stem_bn(self.stem(x_NCHW)))
        for stage, choices in enumerate(arch.stages):
            for block, choice in enumerate(choices):
                x = self.block(stage, block)(x, self.layout.middle_width(stage, block, choice.expand_ratio))
        return self.classifier(F.dropout(x.mean((2, 3)), self.dropout, self.training))

    def sort_channels(self, phase: int = 0, trained: SearchSpace | None = None) -> None:
        for stage, choices in enumerate((trained or self.space).stages):
            for block in range(self.layout.stages[stage].max_depth):
                widths = [self.layout.middle_width(stage, block, ratio) for ratio in choices.ratios]
                sort_residual(self.block(stage, block), self.group_boundaries(widths, phase))

    def extract(self, arch: Arch) -> nn.Module:
        """A plain `ResidualNet` in eval mode with copies of the weights. Raises InvalidArch."""
        self.space.validate(arch, any_resolution=True)
        with torch.device("meta"):
            network = ResidualNet(self.layout, arch, self.dropout)
        copy_conv(network.stem.conv, self.stem.weight)
        copy_norm(network.stem.bn, self.stem_bn)
        for stage, choices in enumerate(arch.stages):
            for block in range(len(choices)):
                target = cast(nn.Sequential, network.stages[stage])[block]
                self._copy_block(target, self.block(stage, block))
        copy_conv(network.head, self.classifier.weight, self.classifier.bias)
        return network.eval()

    @staticmethod
    def _copy_block(target: Any, source: Any) -> None:
        middle, in_width = target.conv1.weight.shape[:2]
        copy_conv(target.conv1, source.conv1.active_weight(middle, in_width))
        copy_norm(target.bn1, source.bn1)
        copy_conv(target.conv2, source.conv2.active_weight(source.out_width, middle))
        copy_norm(target.bn2, source.bn2)
        if source.shortcut is not None:
            copy_conv(target.shortcut[0], source.shortcut[0].weight)
            copy_norm(target.shortcut[1], source.shortcut[1])


class Stem(nn.Module):
    """3x3 convolution, batch norm, relu."""

    def __init__(self, in_chans: int, width: int, stride: int, bn_eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, width, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=bn_eps)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x_NCHW)))


class ResidualBlock(nn.Module):
    """The static form of `ElasticResidual`."""

    def __init__(self, in_width: int, middle_width: int, out_width: int, stride: int, bn_eps: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, middle_width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle_width, eps=bn_eps)
        self.conv2 = nn.Conv2d(middle_width, out_width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_width, eps=bn_eps)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or in_width != out_width:
            conv = nn.Conv2d(in_width, out_width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_width, eps=bn_eps))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x_NCHW)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x_NCHW if self.shortcut is None else self.shortcut(x_NCHW)))


class ResidualNet(nn.Module):
    """One extracted residual network.

    A module of our own because timm's ResNet has one middle width per stage; here every block has its own.
    """

    def __init__(self, layout: ResidualLayout, arch: Arch, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_classes = layout.num_classes
        self.drop_rate = dropout
        self.stem = Stem(layout.in_chans, layout.stem_width, layout.stem_stride, layout.bn_eps)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    *(
                        ResidualBlock(
                            layout.in_width(stage, block),
                            layout.middle_width(stage, block, choice.expand_ratio),
                            layout.stages[stage].width,
                            layout.stages[stage].stride if block == 0 else 1,
                            layout.bn_eps,
                        )
                        for block, choice in enumerate(choices)
                    )
                )
                for stage, choices in enumerate(arch.stages)
            )
        )
        self.head = nn.Linear(layout.stages[-1].width, layout.num_classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = self.stages(self.stem(x_NCHW)).mean((2, 3))
        return self.head(F.dropout(x, self.drop_rate, self.training))

"""The MobileNetV3 and ProxylessNAS supernets; their sub-networks are timm's MobileNetV3 and EfficientNet."""

from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..elastic import ElasticMBConv
from ..elastic.blocks import ACTIVATIONS
from ..elastic.importance import sort_mbconv
from ..space import Arch, MobileLayout, SearchSpace, make_divisible
from .base import Supernet, copy_conv, copy_norm

_TIMM_ACTIVATION = {"relu": "re", "relu6": "r6", "hard_swish": "hs"}


class FixedBlock(nn.Module):
    """The first block: depth-wise 3x3 and projection without expansion, with or without identity shortcut."""

    def __init__(self, in_width: int, out_width: int, activation: str, bn_eps: float, shortcut: bool) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.depthwise = nn.Conv2d(in_width, in_width, 3, padding=1, groups=in_width, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(in_width, eps=bn_eps)
        self.project = nn.Conv2d(in_width, out_width, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(out_width, eps=bn_eps)
        self.shortcut = shortcut

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = self.activation(self.depthwise_bn(self.depthwise(x_NCHW)))
        y = self.project_bn(self.project(y))
        return x_NCHW + y if self.shortcut else y


class MobileSupernet(Supernet):
    """Once-for-All mobile networks: elastic kernel size, expand ratio, depth and resolution (Cai et al., ICLR 2020).

    With a mix layer behind the pooling the networks are MobileNetV3, without one ProxylessNAS. `dropout` is the rate
    before the classifier; extracted networks carry it too.
    """

    def __init__(self, space: SearchSpace, dropout: float = 0.0) -> None:
        super().__init__(space)
        layout = space.layout
        assert isinstance(layout, MobileLayout)
        self.layout = layout
        self.dropout = dropout
        self.stem = nn.Conv2d(layout.in_chans, layout.stem_width, 3, layout.stem_stride, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(layout.stem_width, eps=layout.bn_eps)
        self.first = FixedBlock(
            layout.stem_width, layout.first_width, layout.first_activation, layout.bn_eps, layout.has_first_shortcut
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(self._build_block(stage, block) for block in range(stage_layout.max_depth))
            for stage, stage_layout in enumerate(layout.stages)
        )
        self.expand = nn.Conv2d(layout.stages[-1].width, layout.expand_width, 1, bias=False)
        self.expand_bn = nn.BatchNorm2d(layout.expand_width, eps=layout.bn_eps)
        self.mix = nn.Conv2d(layout.expand_width, layout.mix_width, 1, bias=False) if layout.mix_width else None
        self.classifier = nn.Linear(layout.mix_width or layout.expand_width, layout.num_classes)
        self.reset_parameters()

    def _build_block(self, stage: int, block: int) -> ElasticMBConv:
        stage_layout = self.layout.stages[stage]
        return ElasticMBConv(
            in_width=self.layout.in_width(stage, block),
            middle_width=self.layout.middle_width(stage, block, self.layout.expand_ratios[-1]),
            out_width=stage_layout.width,
            kernel_sizes=self.layout.kernel_sizes,
            stride=stage_layout.stride if block == 0 else 1,
            activation=stage_layout.activation,
            squeeze_excite=stage_layout.squeeze_excite,
            bn_eps=self.layout.bn_eps,
            kernel_transforms=self.layout.kernel_transforms,
        )

    def block(self, stage: int, block: int) -> ElasticMBConv:
        """The elastic block at a position (both count from 0)."""
        return cast(ElasticMBConv, cast(nn.ModuleList, self.stages[stage])[block])

    def forward(self, x_NCHW: Tensor, arch: Arch | None = None) -> Tensor:
        arch = self.space.largest if arch is None else arch
        x = ACTIVATIONS[self.layout.stem_activation](self.stem_bn(self.stem(x_NCHW)))
        x = self.first(x)
        for stage, choices in enumerate(arch.stages):
            for block, choice in enumerate(choices):
                middle = self.layout.middle_width(stage, block, choice.expand_ratio)
                x = self.block(stage, block)(x, choice.kernel_size, middle)
        head = ACTIVATIONS[self.layout.head_activation]
        x = head(self.expand_bn(self.expand(x))).mean((2, 3), keepdim=True)
        x = (x if self.mix is None else head(self.mix(x))).flatten(1)
        return self.classifier(F.dropout(x, self.dropout, self.training))

    def sort_channels(self, phase: int = 0, trained: SearchSpace | None = None) -> None:
        for stage, choices in enumerate((trained or self.space).stages):
            for block in range(self.layout.stages[stage].max_depth):
                widths = [self.layout.middle_width(stage, block, ratio) for ratio in choices.ratios]
                sort_mbconv(self.block(stage, block), self.group_boundaries(widths, phase))

    def extract(self, arch: Arch) -> nn.Module:
        """A timm `MobileNetV3` or `EfficientNet` in eval mode with copies of the weights. Raises InvalidArch."""
        self.space.validate(arch, any_resolution=True)
        with torch.device("meta"):
            network = build_timm_mobilenet(self.layout, arch, self.dropout)
        copy_conv(network.conv_stem, self.stem.weight)
        copy_norm(network.bn1, self.stem_bn)
        first = network.blocks[0][0]
        copy_conv(first.conv_dw, self.first.depthwise.weight)
        copy_norm(first.bn1, self.first.depthwise_bn)
        copy_conv(first.conv_pw, self.first.project.weight)
        copy_norm(first.bn2, self.first.project_bn)
        for stage, choices in enumerate(arch.stages):
            for block, choice in enumerate(choices):
                target = network.blocks[1 + stage][block]
                copy_mbconv(target, self.block(stage, block), choice.kernel_size)
        if self.mix is None:
            copy_conv(network.conv_head, self.expand.weight)
            copy_norm(network.bn2, self.expand_bn)
        else:
            last = network.blocks[-1][0]
            copy_conv(last.conv, self.expand.weight)
            copy_norm(last.bn1, self.expand_bn)
            copy_conv(network.conv_head, self.mix.weight)
        copy_conv(network.classifier, self.classifier.weight, self.classifier.bias)
        return network.eval()


def copy_mbconv(target: Any, source: ElasticMBConv, kernel_size: int) -> None:
    """Put copies of the active weights into timm's `InvertedResidual`, whose widths say how many there are."""
    middle, in_width = target.conv_pw.weight.shape[:2]
    copy_conv(target.conv_pw, source.expand.active_weight(middle, in_width))
    copy_norm(target.bn1, source.expand_bn)
    copy_conv(target.conv_dw, source.depthwise.active_weight(middle, kernel_size))
    copy_norm(target.bn2, source.depthwise_bn)
    if source.squeeze_excite is not None:
        reduce, expand = source.squeeze_excite.reduce, source.squeeze_excite.expand
        assert reduce.bias is not None
        assert expand.bias is not None
        inner = target.se.conv_reduce.weight.shape[0]
        copy_conv(target.se.conv_reduce, reduce.weight[:inner, :middle], reduce.bias[:inner])
        copy_conv(target.se.conv_expand, expand.weight[:middle, :inner], expand.bias[:middle])
    copy_conv(target.conv_pwl, source.project.active_weight(*target.conv_pwl.weight.shape[:2]))
    copy_norm(target.bn3, source.project_bn)


def build_timm_mobilenet(layout: MobileLayout, arch: Arch, dropout: float = 0.0) -> Any:
    """timm's MobileNetV3 of an architecture, or its EfficientNet where nothing follows the pooling; fresh weights.

    timm has no argument for a stem that keeps the resolution, so its stride is set afterwards; `feature_info` of such
    small-image networks therefore reports twice the true reduction.
    """
    from timm.models._efficientnet_blocks import SqueezeExcite
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet
    from timm.models.mobilenetv3 import MobileNetV3

    skip = "" if layout.first_shortcut else "_noskip"
    blocks = [[f"ds_r1_k3_s1_e1_c{layout.first_width}_n{_TIMM_ACTIVATION[layout.first_activation]}{skip}"]]
    for stage, choices in enumerate(arch.stages):
        stage_layout = layout.stages[stage]
        lines = []
        for block, choice in enumerate(choices):
            stride = stage_layout.stride if block == 0 else 1
            squeeze = "_se0.25" if stage_layout.squeeze_excite else ""
            lines.append(
                f"ir_r1_k{choice.kernel_size}_s{stride}_e{choice.expand_ratio:g}_c{stage_layout.width}"
                f"{squeeze}_n{_TIMM_ACTIVATION[stage_layout.activation]}"
            )
        blocks.append(lines)
    common: dict[str, Any] = {
        "num_classes": layout.num_classes,
        "in_chans": layout.in_chans,
        "stem_size": layout.stem_width,
        "fix_stem": True,
        "norm_layer": partial(nn.BatchNorm2d, eps=layout.bn_eps),
        "drop_rate": dropout,
    }
    network: Any
    if layout.mix_width:
        blocks.append([f"cn_r1_k1_s1_c{layout.expand_width}_n{_TIMM_ACTIVATION[layout.head_activation]}"])
        network = MobileNetV3(
            decode_arch_def(blocks),
            num_features=layout.mix_width,
            head_bias=False,
            act_layer=nn.Hardswish,
            se_layer=partial(
                SqueezeExcite,
                gate_layer="hard_sigmoid",
                force_act_layer=nn.ReLU,
                rd_round_fn=make_divisible,
            ),
            **common,
        )
    else:
        network = EfficientNet(decode_arch_def(blocks), num_features=layout.expand_width, act_layer=nn.ReLU6, **common)
    network.conv_stem.stride = (layout.stem_stride, layout.stem_stride)
    return network

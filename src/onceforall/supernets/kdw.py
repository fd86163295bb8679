"""The supernet of the CIFAR-10 re-implementation: kernel size, depth, and the output width of every block."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..elastic import ElasticBatchNorm2d, ElasticConv2d, ElasticMBConv, sort_mbconv, sort_outputs
from ..elastic.blocks import ACTIVATIONS
from ..space import Arch, KdwLayout, SearchSpace
from .base import Supernet, copy_conv, copy_norm
from .mobile import copy_mbconv

_MODULES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "hard_swish": nn.Hardswish}


class KdwSupernet(Supernet):
    """A stem, one stage of blocks that widen, a 1x1 convolution that reads the last of them, pooling, classifier.

    The blocks are elastic in input and output: narrower networks use the first channels everywhere. A block that kept
    its width would add its input; none does.
    """

    def __init__(self, space: SearchSpace, dropout: float = 0.0) -> None:
        super().__init__(space)
        layout = space.layout
        assert isinstance(layout, KdwLayout)
        self.layout = layout
        self.dropout = dropout
        self.stem = build_stem(layout)
        self.blocks = nn.ModuleList(self._build_block(position) for position in range(layout.stages[0].max_depth))
        self.final = ElasticConv2d(self._widest(len(self.blocks)), layout.final_width)
        self.final_bn = ElasticBatchNorm2d(layout.final_width, eps=layout.bn_eps)
        self.classifier = nn.Linear(layout.final_width, layout.num_classes)
        self.reset_parameters()

    def _widest(self, blocks: int) -> int:
        return self.layout.width_after(blocks, self.layout.expand_ratios[-1])

    def _build_block(self, position: int) -> ElasticMBConv:
        width = self._widest(position + 1)
        return ElasticMBConv(
            in_width=self._widest(position),
            middle_width=width,
            out_width=width,
            kernel_sizes=self.layout.kernel_sizes,
            stride=1,
            activation=self.layout.activation,
            squeeze_excite=True,
            bn_eps=self.layout.bn_eps,
            squeeze_width=self.layout.squeeze_width,
        )

    def block(self, position: int) -> ElasticMBConv:
        """The block at a position, from 0."""
        return cast(ElasticMBConv, self.blocks[position])

    def forward(self, x_NCHW: Tensor, arch: Arch | None = None) -> Tensor:
        (choices,) = (self.space.largest if arch is None else arch).stages
        x = self.stem(x_NCHW)
        for position, choice in enumerate(choices):
            width = self.layout.width_after(position + 1, choice.expand_ratio)
            x = self.block(position)(x, choice.kernel_size, width, width)
        x = self.final_bn(self.final(x, self.layout.final_width))
        x = ACTIVATIONS[self.layout.activation](x).mean((2, 3))
        return self.classifier(F.dropout(x, self.dropout, self.training))

    def sort_channels(self, phase: int = 0, trained: SearchSpace | None = None) -> None:
        """Sort the middle channels of every block, then the output channels, together with all that read them.

        What a block writes is read by the next one and, where the network may end there, by the final convolution,
        whose inputs belong to the last block of every depth. They share one order, in which the channels of a shorter
        network stay in front: sorted freely, one of the two depths would lose what it has learned.
        """
        (choices,) = (trained or self.space).stages
        edges = [
            self.group_boundaries([self.layout.width_after(blocks, ratio) for ratio in choices.ratios], phase)
            for blocks in range(1, len(self.blocks) + 1)
        ]
        for position, boundaries in enumerate(edges):
            sort_mbconv(self.block(position), boundaries, boundaries[0])
        exits = [depth - 1 for depth in self.space.stages[0].depths]
        for position in sorted(set(range(len(self.blocks) - 1)) - set(exits)):
            self._sort_outputs([position], [], edges)
        self._sort_outputs(exits, [(self.final.weight, self.layout.final_width)], edges)

    def _sort_outputs(self, positions: list[int], readers: list[tuple[Tensor, int]], edges: list[list[int]]) -> None:
        followers = [position + 1 for position in positions if position + 1 < len(self.blocks)]
        readers = [*readers, *((self.block(position).expand.weight, edges[position][0]) for position in followers)]
        boundaries = [edge for position in positions for edge in edges[position]]
        sort_outputs([self.block(position) for position in positions], readers, boundaries)

    def extract(self, arch: Arch) -> nn.Module:
        """A plain `KdwNet` in eval mode with copies of the weights. Raises InvalidArch."""
        self.space.validate(arch, any_resolution=True)
        with torch.device("meta"):
            network = KdwNet(self.layout, arch, self.dropout)
        network.stem = copy.deepcopy(self.stem)
        for position, choice in enumerate(arch.stages[0]):
            copy_mbconv(network.blocks[position], self.block(position), choice.kernel_size)
        copy_conv(network.final, self.final.active_weight(*network.final.weight.shape[:2]))
        copy_norm(network.final_bn, self.final_bn)
        copy_conv(network.head, self.classifier.weight, self.classifier.bias)
        return network.eval()


def build_stem(layout: KdwLayout) -> nn.Sequential:
    """3x3 convolutions, each with batch norm and activation; fresh weights."""

    def layers() -> Iterator[nn.Module]:
        in_width = layout.in_chans
        for width, stride in layout.stem_convolutions:
            yield nn.Conv2d(in_width, width, 3, stride, padding=1, bias=False)
            yield nn.BatchNorm2d(width, eps=layout.bn_eps)
            yield _MODULES[layout.activation]()
            in_width = width

    return nn.Sequential(*layers())


class KdwNet(nn.Module):
    """One extracted network.

    A module of our own around timm's blocks, because timm's MobileNetV3 has a single convolution as its stem and no
    way to put the classifier right behind the pooling of its last convolution.
    """

    def __init__(self, layout: KdwLayout, arch: Arch, dropout: float = 0.0) -> None:
        super().__init__()
        from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite

        self.num_classes = layout.num_classes
        self.drop_rate = dropout
        self.stem = build_stem(layout)
        activation: Any = _MODULES[layout.activation]
        squeeze: Any = partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU)
        (choices,) = arch.stages
        widths = [layout.width_after(blocks, choices[0].expand_ratio) for blocks in range(len(choices) + 1)]
        self.blocks = nn.Sequential(
            *(
                InvertedResidual(
                    widths[position],
                    widths[position + 1],
                    choice.kernel_size,
                    exp_ratio=choice.expand_ratio,
                    act_layer=activation,
                    norm_layer=partial(nn.BatchNorm2d, eps=layout.bn_eps),
                    se_layer=squeeze,
                )
                for position, choice in enumerate(choices)
            )
        )
        self.final = nn.Conv2d(widths[-1], layout.final_width, 1, bias=False)
        self.final_bn = nn.BatchNorm2d(layout.final_width, eps=layout.bn_eps)
        self.activation = activation()
        self.head = nn.Linear(layout.final_width, layout.num_classes)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = self.blocks(self.stem(x_NCHW))
        x = self.activation(self.final_bn(self.final(x))).mean((2, 3))
        return self.head(F.dropout(x, self.drop_rate, self.training))

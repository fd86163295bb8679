"""A static network as net.config describes it, with the official names of its tensors."""

from collections import OrderedDict
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ...space import make_divisible

_ACTIVATION: dict[str | None, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "h_swish": nn.Hardswish,
    "h_sigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
    None: nn.Identity,
}


class StaticNet(nn.Module):
    """One MobileNetV3, ProxylessNAS or ResNet-50-D of the official project; `forward` maps (N, C, H, W) to logits.

    It builds what timm does not: ProxylessNAS networks whose stages have any depth and whose blocks may be missing.
    Networks of our search spaces are read as timm models instead. Within a module, layers are registered in the order
    in which timm registers them, so that tensors correspond one to one.

    Args:
        config: as `read_net_config` returns it.
    """

    final_expand_layer: nn.Module
    feature_mix_layer: nn.Module

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        norm = config["bn"]
        stem = config.get("input_stem")
        if stem is None:
            self.first_conv = ConvLayer(config["first_conv"], norm)
        else:
            self.input_stem = nn.ModuleList(_stem_layer(layer, norm) for layer in stem)
        self.blocks = nn.ModuleList(_block(block, norm) for block in config["blocks"])
        for name in ("final_expand_layer", "feature_mix_layer"):
            if name in config:
                setattr(self, name, ConvLayer(config[name], norm))
        self.classifier = LinearLayer(config["classifier"])

    def forward(self, x_NCHW: Tensor) -> Tensor:
        kind = self.config["name"]
        if kind == "ResNets":
            for layer in self.input_stem:
                x_NCHW = layer(x_NCHW)
            x_NCHW = F.max_pool2d(x_NCHW, 3, 2, padding=1)
        else:
            x_NCHW = self.first_conv(x_NCHW)
        for block in self.blocks:
            x_NCHW = block(x_NCHW)
        if kind == "MobileNetV3":
            x_NCHW = self.feature_mix_layer(self.final_expand_layer(x_NCHW).mean((2, 3), keepdim=True))
        elif kind == "ProxylessNASNets":
            x_NCHW = self.feature_mix_layer(x_NCHW)
        return self.classifier(x_NCHW.mean((2, 3)))


def _stem_layer(config: dict[str, Any], norm: dict[str, float]) -> nn.Module:
    return Residual(config, norm) if config["name"] == "ResidualBlock" else ConvLayer(config, norm)


def _block(config: dict[str, Any], norm: dict[str, float]) -> nn.Module:
    return Residual(config, norm) if config["name"] == "ResidualBlock" else Bottleneck(config, norm)


def _norm(channels: int, norm: dict[str, float]) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=norm["eps"], momentum=norm["momentum"])


def _conv_norm(
    in_channels: int,
    out_channels: int,
    norm: dict[str, float],
    activation: str | None,
    kernel_size: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> "OrderedDict[str, nn.Module]":
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False
    )
    return OrderedDict(conv=conv, bn=_norm(out_channels, norm), act=_ACTIVATION[activation]())


class SqueezeExcite(nn.Module):
    """Gate of channels; its inner width is a quarter, made divisible by 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = make_divisible(channels // 4)
        self.fc = nn.Sequential(
            OrderedDict(
                reduce=nn.Conv2d(channels, inner, 1),
                relu=nn.ReLU(),
                expand=nn.Conv2d(inner, channels, 1),
                h_sigmoid=nn.Hardsigmoid(),
            )
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW * self.fc(x_NCHW.mean((2, 3), keepdim=True))


class ConvLayer(nn.Sequential):
    """Convolution, and where asked for batch norm, activation, squeeze-and-excite."""

    def __init__(self, config: dict[str, Any], norm: dict[str, float]) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, kernel_size = config["out_channels"], config["kernel_size"]
        layers["conv"] = nn.Conv2d(
            config["in_channels"],
            channels,
            kernel_size,
            config["stride"],
            padding=kernel_size // 2,
            groups=config["groups"],
            bias=config["bias"],
        )
        if config["use_bn"]:
            layers["bn"] = _norm(channels, norm)
        layers["act"] = _ACTIVATION[config["act_func"]]()
        if config["use_se"]:
            layers["se"] = SqueezeExcite(channels)
        if config["dropout_rate"]:
            layers["dropout"] = nn.Dropout2d(config["dropout_rate"])
        super().__init__(layers)


class LinearLayer(nn.Sequential):
    """Dropout and a linear layer."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(
            OrderedDict(
                dropout=nn.Dropout(config["dropout_rate"]),
                linear=nn.Linear(config["in_features"], config["out_features"], config["bias"]),
            )
        )


class MBConv(nn.Sequential):
    """1x1 expansion (none at ratio 1), depth-wise convolution with squeeze-and-excite where asked for, projection."""

    def __init__(self, config: dict[str, Any], norm: dict[str, float]) -> None:
        middle, activation = config["mid_channels"], config["act_func"]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if config["expand_ratio"] == 1:
            middle = config["in_channels"]
        else:
            layers["inverted_bottleneck"] = nn.Sequential(_conv_norm(config["in_channels"], middle, norm, activation))
        depthwise = _conv_norm(middle, middle, norm, activation, config["kernel_size"], config["stride"], groups=middle)
        if config["use_se"]:
            depthwise["se"] = SqueezeExcite(middle)
        layers["depth_conv"] = nn.Sequential(depthwise)
        layers["point_linear"] = nn.Sequential(_conv_norm(middle, config["out_channels"], norm, None))
        super().__init__(layers)


class Residual(nn.Module):
    """A layer and, where there is a shortcut, its input added to it; without a layer, the identity."""

    def __init__(self, config: dict[str, Any], norm: dict[str, float]) -> None:
        super().__init__()
        self.shortcut = config["shortcut"] is not None
        conv = config["conv"]
        self.conv = None if conv is None else (MBConv if conv["name"] == "MBConvLayer" else ConvLayer)(conv, norm)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self.conv is None:
            return x_NCHW
        return self.conv(x_NCHW) + x_NCHW if self.shortcut else self.conv(x_NCHW)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolution, plus the input or its projection, then the activation."""

    def __init__(self, config: dict[str, Any], norm: dict[str, float]) -> None:
        super().__init__()
        in_width, middle, out_width = (config[f"{part}_channels"] for part in ("in", "mid", "out"))
        stride, activation = config["stride"], config["act_func"]
        self.downsample: nn.Module | None = None
        if stride != 1 or in_width != out_width:
            pool = config["downsample_mode"] == "avgpool_conv"
            project = _conv_norm(in_width, out_width, norm, None, stride=1 if pool else stride)
            if pool:
                project["avg_pool"] = nn.AvgPool2d(stride, stride, ceil_mode=True)
                project.move_to_end("avg_pool", last=False)
            self.downsample = nn.Sequential(project)
        self.conv1 = nn.Sequential(_conv_norm(in_width, middle, norm, activation))
        self.conv2 = nn.Sequential(_conv_norm(middle, middle, norm, activation, config["kernel_size"], stride))
        self.conv3 = nn.Sequential(_conv_norm(middle, out_width, norm, None))
        self.final_act = _ACTIVATION[activation]()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = self.conv3(self.conv2(self.conv1(x_NCHW)))
        return self.final_act(y + (x_NCHW if self.downsample is None else self.downsample(x_NCHW)))

"""net.config and our architectures: one description out of the other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InvalidArch
from ...space import Arch, Block, BottleneckLayout, MobileLayout, SearchSpace
from .net_config import normalised, read_net_config

_ACTIVATION = {"hard_swish": "h_swish"}


def config_from_arch(space: SearchSpace, arch: Arch, dropout: float = 0.0) -> dict[str, Any]:
    """The network of an architecture as net.config describes it, every field filled in.

    Raises:
        InvalidArch: an architecture that is not in the space, or a space of networks that net.config cannot describe.
    """
    space.validate(arch, any_resolution=True)
    layout = space.layout
    if isinstance(layout, MobileLayout):
        config = _mobile_config(layout, arch)
    elif isinstance(layout, BottleneckLayout):
        config = _resnet_config(layout, arch)
    else:
        raise InvalidArch(f"net.config knows no networks like those of space {space.name}")
    config["bn"] = {"momentum": 0.1, "eps": layout.bn_eps}
    config["classifier"] |= {"name": "LinearLayer", "out_features": layout.num_classes, "dropout_rate": dropout}
    return normalised(config, space.name)


def _conv(in_channels: int, out_channels: int, activation: str, **others: Any) -> dict[str, Any]:
    activation = _ACTIVATION.get(activation, activation)
    channels = {"in_channels": in_channels, "out_channels": out_channels}
    return {"name": "ConvLayer", **channels, "act_func": activation, **others}


def _residual(conv: dict[str, Any], shortcut: bool) -> dict[str, Any]:
    identity = {"name": "IdentityLayer", "in_channels": conv["in_channels"], "out_channels": conv["out_channels"]}
    return {"name": "ResidualBlock", "conv": conv, "shortcut": identity if shortcut else None}


def _mobile_config(layout: MobileLayout, arch: Arch) -> dict[str, Any]:
    first = _conv(layout.stem_width, layout.first_width, layout.first_activation, name="MBConvLayer", expand_ratio=1)
    blocks = [_residual(first, layout.has_first_shortcut)]
    for stage, (chosen, described) in enumerate(zip(arch.stages, layout.stages, strict=True)):
        for position, block in enumerate(chosen):
            in_width, stride = layout.in_width(stage, position), 1 if position else described.stride
            conv = _conv(
                in_width,
                described.width,
                described.activation,
                name="MBConvLayer",
                kernel_size=block.kernel_size,
                stride=stride,
                expand_ratio=block.expand_ratio,
                mid_channels=layout.middle_width(stage, position, block.expand_ratio),
                use_se=described.squeeze_excite,
            )
            blocks.append(_residual(conv, stride == 1 and in_width == described.width))
    config: dict[str, Any] = {
        "name": "MobileNetV3" if layout.mix_width else "ProxylessNASNets",
        "first_conv": _conv(layout.in_chans, layout.stem_width, layout.stem_activation, stride=layout.stem_stride),
        "blocks": blocks,
        "classifier": {"in_features": layout.mix_width or layout.expand_width},
    }
    last = _conv(layout.stages[-1].width, layout.expand_width, layout.head_activation, kernel_size=1)
    if not layout.mix_width:
        return config | {"feature_mix_layer": last}
    mix = _conv(layout.expand_width, layout.mix_width, layout.head_activation, kernel_size=1, use_bn=False)
    return config | {"final_expand_layer": last, "feature_mix_layer": mix}


def _resnet_config(layout: BottleneckLayout, arch: Arch) -> dict[str, Any]:
    middle, stem, *widths = layout.widths(arch.width_mults)
    block = [_residual(_conv(middle, middle, "relu"), True)] if arch.stages[0] else []
    first = _conv(layout.in_chans, middle, "relu", stride=layout.stem_stride)
    blocks, in_width = [], stem
    for chosen, described, width in zip(arch.stages[1:], layout.stages[1:], widths, strict=True):
        for position, bottleneck in enumerate(chosen):
            blocks.append(
                _conv(
                    in_width,
                    width,
                    "relu",
                    name="ResNetBottleneckBlock",
                    stride=1 if position else described.stride,
                    expand_ratio=bottleneck.expand_ratio,
                    mid_channels=layout.middle_width(width, bottleneck.expand_ratio),
                )
            )
            in_width = width
    return {
        "name": "ResNets",
        "input_stem": [first, *block, _conv(middle, stem, "relu")],
        "blocks": blocks,
        "classifier": {"in_features": in_width},
    }


def arch_from_config(space: SearchSpace, source: str | Path | Mapping[str, Any], resolution: int | None = None) -> Arch:
    """The architecture of a published network: any resolution is taken, weights do not depend on it.

    In ResNet-50-D two multipliers of the stem's middle give the same width; the smaller one is taken.

    Args:
        source: path as for `read_net_config`, or what that returns; then `resolution` is needed.

    Raises:
        InvalidArch: no network of the space; names the first layer that differs.
        FileFormatError: see `read_net_config`.
    """
    if isinstance(source, Mapping):
        config = dict(source)
    else:
        config, resolution = read_net_config(source, resolution)
    layers = [layer for block in config["blocks"] if (layer := block.get("conv", block)) is not None]
    widths: tuple[float, ...] = ()
    if isinstance(space.layout, BottleneckLayout):
        stages, widths = _resnet_choices(space.layout, config, _stages(layers))
    else:
        stages = [[Block(c["kernel_size"], c.get("expand_ratio", 0)) for c in stage] for stage in _stages(layers[1:])]
    resolution = space.resolutions[-1] if resolution is None else resolution
    arch = Arch(resolution, tuple(map(tuple, stages)), widths)
    try:
        difference = _difference(_comparable(config), _comparable(config_from_arch(space, arch)))
    except InvalidArch as error:
        difference = str(error)
    if difference:
        raise InvalidArch(f"no network of space {space.name}: {difference}")
    return arch


def _stages(layers: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The layers of the blocks in groups that begin where the width or the resolution changes."""
    stages: list[list[dict[str, Any]]] = []
    for layer in layers:
        if not stages or layer["in_channels"] != layer["out_channels"] or layer["stride"] != 1:
            stages.append([])
        stages[-1].append(layer)
    return stages


def _resnet_choices(
    layout: BottleneckLayout, config: dict[str, Any], stages: list[list[dict[str, Any]]]
) -> tuple[list[list[Block]], tuple[float, ...]]:
    stem = config.get("input_stem") or [{}]
    found = [stem[0], stem[-1], *(stage[0] for stage in stages)]
    names = layout.width_names
    mults = []
    for index, (name, layer) in enumerate(zip(names, found, strict=False)):
        width = layer.get("out_channels")
        candidates = [mult for mult in layout.width_mults if layout.widths((mult,) * len(names))[index] == width]
        if not candidates:
            raise InvalidArch(f"{name} is {width} channels wide, which no width multiplier gives")
        mults.append(candidates[0])
    chosen = [[Block(3, 1)] if len(stem) > 2 else []]
    chosen += [[Block(layer["kernel_size"], _ratio(layout, layer)) for layer in stage] for stage in stages]
    return chosen, tuple(mults)


def _ratio(layout: BottleneckLayout, bottleneck: dict[str, Any]) -> float:
    """The expand ratio that gives a bottleneck's middle width; that of the file when none does."""
    width, middle = bottleneck["out_channels"], bottleneck["mid_channels"]
    fitting = [ratio for ratio in layout.expand_ratios if layout.middle_width(width, ratio) == middle]
    return fitting[0] if fitting else bottleneck["expand_ratio"]


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the function of a network in evaluation, without blocks that are not there."""
    blocks = [
        {key: value for key, value in block.items() if key != "expand_ratio"}
        for block in config["blocks"]
        if block.get("conv", block) is not None
    ]
    classifier = {**config["classifier"], "dropout_rate": 0}
    return {**config, "bn": config["bn"]["eps"], "blocks": blocks, "classifier": classifier}


def _difference(found: Any, expected: Any, where: str = "") -> str:
    """The first place where two descriptions differ, in words; "" when they are equal."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [key for key in expected if key in found] + sorted(set(found) ^ set(expected))
        pairs = [(str(key), found.get(key), expected.get(key)) for key in keys]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(found, expected, strict=True))]
    else:
        return "" if found == expected else f"{where.strip('.')} is {found!r}, not {expected!r}"
    return next((text for key, a, b in pairs if (text := _difference(a, b, f"{where}.{key}"))), "")

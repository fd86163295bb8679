"""Published networks: a folder of net.config, run.config and weights, read as a plain network and written as one."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, FileFormatError, InvalidArch
from ...files import write_json
from ...space import Arch, BottleneckLayout, MobileLayout, SearchSpace
from ...supernets.bottleneck import build_timm_byobnet
from ...supernets.mobile import build_timm_mobilenet
from .checkpoints import read_torch_file, write_torch_file
from .net_arch import arch_from_config, config_from_arch
from .net_config import read_net_config
from .recognise import space_from_config
from .static_net import StaticNet

WEIGHTS = "init"  # the name of the weights file in a published folder


def net_from_config(
    path: str | Path, resolution: int | None = None, weights: str | Path | None = None
) -> tuple[nn.Module, int]:
    """A published network in eval mode, and the resolution it is for in pixels.

    A network of one of our search spaces is the timm model that `Supernet.extract` makes; any other, as those of the
    ProxylessNAS paper with their missing blocks, is a `StaticNet`, because timm has no such layouts.

    Args:
        path: folder of net.config and run.config, or a file; see `read_net_config`.
        resolution: takes the place of what run.config says.
        weights: torch file; None: the file init of the folder, and fresh weights when there is none.

    Raises:
        FileFormatError: a file that is missing, damaged, unknown, or does not fit.
    """
    config, resolution = read_net_config(path, resolution)
    known = locate(config, resolution)
    beside = Path(path) / WEIGHTS
    if weights is None and beside.is_file():
        weights = beside
    if weights is None:
        return (StaticNet(config) if known is None else build_timm(*known, _dropout(config))).eval(), resolution
    with torch.device("meta"):
        network: nn.Module = StaticNet(config)
    tensors = _static_tensors(network, weights)
    if known is not None:
        with torch.device("meta"):
            network = build_timm(*known, _dropout(config))
        tensors = same_layers(tensors, network)
    network.load_state_dict(tensors, assign=True)
    return network.eval(), resolution


def locate(config: Mapping[str, Any], resolution: int) -> tuple[SearchSpace, Arch] | None:
    """The search space and architecture of a network that `read_net_config` returned; None when it is in no space."""
    space = space_from_config(config)
    try:
        return None if space is None else (space, arch_from_config(space, config, resolution))
    except InvalidArch:
        return None


def build_timm(space: SearchSpace, arch: Arch, dropout: float = 0.0) -> nn.Module:
    """The plain network that `Supernet.extract` makes of an architecture, with fresh weights."""
    if isinstance(space.layout, BottleneckLayout):
        return build_timm_byobnet(space.layout, arch, dropout)
    assert isinstance(space.layout, MobileLayout)
    return build_timm_mobilenet(space.layout, arch, dropout)


def _dropout(config: Mapping[str, Any]) -> float:
    return config["classifier"]["dropout_rate"]


def same_layers(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Tensors under the names of a network that has the same layers in the same order."""
    return dict(zip(network.state_dict(), tensors.values(), strict=True))


def _static_tensors(network: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """Tensors of a weights file, checked against the network and in its order."""
    tensors = read_torch_file(path)
    if isinstance(tensors.get("state_dict"), Mapping):
        tensors = tensors["state_dict"]
    # Before the block's convolution was called `conv` it was `mobile_inverted_conv`.
    tensors = {re.sub(r"\.mobile_inverted_conv\.", ".conv.", str(key)): value for key, value in tensors.items()}
    if foreign := [key for key, value in tensors.items() if not isinstance(value, Tensor)]:
        raise FileFormatError(f"{path} does not fit its net.config: {foreign[0]} is no tensor")
    own = network.state_dict()
    problems = [f"lacks {key}" for key in own if key not in tensors]
    problems += [f"has an unexpected {key}" for key in tensors if key not in own]
    for key in own:
        if key in tensors and own[key].dim() == 0 and tensors[key].numel() == 1:
            tensors[key] = tensors[key].reshape(())  # old files keep batch counters as vectors of one
        if key in tensors and own[key].shape != tensors[key].shape:
            problems.append(f"has {key} of shape {tuple(tensors[key].shape)} instead of {tuple(own[key].shape)}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise FileFormatError(f"{path} does not fit its net.config: it {', '.join(problems[:3])}{more}")
    return {key: tensors[key] for key in own}


def write_net_config(
    network: StaticNet | tuple[SearchSpace, Arch],
    folder: str | Path,
    resolution: int | None = None,
    *,
    dropout: float = 0.0,
    weights: nn.Module | None = None,
) -> None:
    """Write net.config and run.config, and with `weights` also init, as the official code reads them.

    Args:
        network: a space and one of its architectures, or a network that `net_from_config` made as a StaticNet.
        resolution: None: that of the architecture.
        dropout: rate before the classifier, of an architecture.
        weights: the extracted (perhaps fine-tuned) network of the architecture.

    Raises:
        ConfigError: a StaticNet without a resolution, or weights of another network.
        InvalidArch: an architecture that net.config cannot describe.
    """
    if isinstance(network, StaticNet):
        config, weights = network.config, weights or network
    else:
        config, resolution = config_from_arch(*network, dropout), resolution or network[1].resolution
    if resolution is None:
        raise ConfigError("give the resolution the network is for: run.config names it")
    folder = Path(folder)
    if weights is not None:
        with torch.device("meta"):
            static = StaticNet(config).state_dict()
        tensors = list(weights.state_dict().values())
        if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in static.values()]:
            raise ConfigError("the weights are not those of the network that is written")
        write_torch_file(folder / WEIGHTS, dict(zip(static, tensors, strict=True)))
    write_json(folder / "net.config", config)
    write_json(folder / "run.config", {"image_size": resolution})

"""What a parameter file calls each tensor of a network, and how it lays it out."""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import FileFormatError
from ...space import BottleneckLayout, MobileLayout
from ...supernets import Supernet
from ..official import official_key

_NORM = {"weight": "_gamma", "bias": "_beta", "running_mean": "_mean", "running_var": "_var"}
_PLAIN = {"weight": "_W", "bias": "_b"}
# Extracted networks are timm models: what timm calls a layer, and what a static network of NNablaNAS calls it.
_MOBILE = {
    "conv_stem": "first_conv/conv",
    "bn1": "first_conv/bn",
    "blocks.0.0.conv_dw": "blocks/0/conv/depth_conv/conv",
    "blocks.0.0.bn1": "blocks/0/conv/depth_conv/bn",
    "blocks.0.0.conv_pw": "blocks/0/conv/point_linear/conv",
    "blocks.0.0.bn2": "blocks/0/conv/point_linear/bn",
    "conv_head": "feature_mix_layer/conv",
    "classifier": "classifier/linear",
}
_MOBILE_BLOCK = {
    "conv_pw": "conv/inverted_bottleneck/conv",
    "bn1": "conv/inverted_bottleneck/bn",
    "conv_dw": "conv/depth_conv/conv",
    "bn2": "conv/depth_conv/bn",
    "se.conv_reduce": "conv/depth_conv/se/fc/reduce",
    "se.conv_expand": "conv/depth_conv/se/fc/expand",
    "conv_pwl": "conv/point_linear/conv",
    "bn3": "conv/point_linear/bn",
}
_BOTTLENECK = {
    "stem.conv1.conv": "input_stem/0/conv",
    "stem.conv1.bn": "input_stem/0/bn",
    "stem.conv1.0.conv": "input_stem/0/conv",
    "stem.conv1.0.bn": "input_stem/0/bn",
    "stem.conv1.1.conv.conv": "input_stem/1/conv/conv",
    "stem.conv1.1.conv.bn": "input_stem/1/conv/bn",
    "head.fc": "classifier/linear",
}
_BOTTLENECK_BLOCK = {
    f"{ours}.{part}": f"{theirs}/{part}"
    for ours, theirs in (
        ("conv1_1x1", "conv1"),
        ("conv2_kxk", "conv2"),
        ("conv3_1x1", "conv3"),
        ("shortcut.conv", "downsample"),
    )
    for part in ("conv", "bn")
}
_POSITION = re.compile(r"(?:blocks|stages)\.(\d+)\.(\d+)\.(.+)")


def parameter_names(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """For every tensor of a network, by its key in the state dict, its name in a parameter file; `/` separates parts.

    A supernet's tensors have a second name, under which static networks keep them. Counters of batch norm have none.

    Raises:
        FileFormatError: a network that NNablaNAS does not have.
    """
    norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    keys = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    if isinstance(network, Supernet):
        layout = network.space.layout
        mobile = isinstance(layout, MobileLayout) and [stage.max_depth for stage in layout.stages] == [4] * 5
        if not mobile and not isinstance(layout, BottleneckLayout):
            raise FileFormatError(f"NNablaNAS has no network like {network.space.name}: use an mbv3 or resnet50 space")
        return {key: _both(official_key(network, key), key, norms) for key in keys}
    try:
        return {key: (f"{layer}/{_leaf(key, norms)}",) for key, layer in _static_layers(network, keys)}
    except KeyError as error:
        raise FileFormatError(f"NNablaNAS has no network with a layer like {error}") from error


def _both(official: str, key: str, norms: set[str]) -> tuple[str, ...]:
    """The elastic name, in which some parts stand twice, and the static one."""
    layer, _, leaf = official.rpartition(".")
    leaf = leaf if leaf.endswith("_matrix") else _leaf(key, norms)
    static = re.sub(r"\b(conv|bn|linear)\.\1$", r"\1", layer)
    return tuple(dict.fromkeys(f"{spelling.replace('.', '/')}/{leaf}" for spelling in (layer, static)))


def _leaf(key: str, norms: set[str]) -> str:
    module, _, leaf = key.rpartition(".")
    return (_NORM if module in norms else _PLAIN)[leaf]


def _static_layers(network: nn.Module, keys: list[str]) -> Iterator[tuple[str, str]]:
    """Every key of an extracted timm network with the name of its layer. Raises KeyError for an unknown layer."""
    state: Any = network
    bottleneck = hasattr(network, "stages")
    outer, inner = (_BOTTLENECK, _BOTTLENECK_BLOCK) if bottleneck else (_MOBILE, _MOBILE_BLOCK)
    stages = list(state.stages if bottleneck else getattr(state, "blocks", ()))
    starts = [sum(len(stage) for stage in stages[:index]) for index in range(len(stages))]
    for key in keys:
        layer = key.rpartition(".")[0]
        match = _POSITION.fullmatch(layer)
        if layer.startswith("stem.conv2."):  # the last of the stem, whose block may be missing
            before = 1 + isinstance(state.stem.conv1, nn.Sequential)
            yield key, f"input_stem/{before}/{layer.removeprefix('stem.conv2.')}"
        elif layer in outer or match is None:
            yield key, outer[layer]
        elif not bottleneck and int(match[1]) == len(stages) - 1:
            yield key, {"conv": "final_expand_layer/conv", "bn1": "final_expand_layer/bn"}[match[3]]
        else:
            yield key, f"blocks/{starts[int(match[1])] + int(match[2])}/{inner[match[3]]}"


def to_layout(name: str, tensor: Tensor) -> Tensor:
    """A tensor of ours as a parameter file keeps it: linear weights and kernel matrices transposed, norms as maps."""
    if is_transposed(name):
        return tensor.T
    return tensor.reshape(1, -1, 1, 1) if is_norm(name) else tensor


def from_layout(name: str, tensor: Tensor) -> Tensor:
    """The inverse of `to_layout`."""
    if is_transposed(name) and tensor.dim() == 2:
        return tensor.T.contiguous()
    if is_norm(name) and tensor.dim() == 4 and tensor.shape[0] == tensor.shape[2] == tensor.shape[3] == 1:
        return tensor.flatten()
    return tensor


def is_transposed(name: str) -> bool:
    return name.endswith("_matrix") or (name.startswith("classifier/") and name.endswith("/_W"))


def is_norm(name: str) -> bool:
    return name.endswith(tuple(_NORM.values()))


def is_trained(name: str) -> bool:
    """Whether gradients change the tensor: all but running statistics."""
    return not name.endswith(("/_mean", "/_var"))


def as_array(name: str, tensor: Tensor) -> Any:
    """float32, as parameter files hold it."""
    return to_layout(name, tensor.detach().to("cpu", torch.float32)).contiguous().numpy()

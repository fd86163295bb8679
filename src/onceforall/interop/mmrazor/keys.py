"""Names of tensors: the official Once-for-All MobileNetV3, and MMRazor's AttentiveMobileNetV3."""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from ...errors import FileFormatError

SUPERNET_DEPTHS = (1, 4, 4, 4, 4, 4)
PREFIX = "architecture."
_OFFICIAL_BLOCK = re.compile(r"blocks\.(\d+)\.(?:(?:mobile_inverted_conv|conv)\.)?(.+)")
_RAZOR_BLOCK = re.compile(r"backbone\.layer(\d+)\.(\d+)\.(.+)")
_PARTS = {
    "depth_conv.se.fc.reduce.": "se.conv1.conv.",
    "depth_conv.se.fc.expand.": "se.conv2.conv.",
    "depth_conv.conv.5to3_matrix": "depthwise_conv.conv.trans_matrix_5to3",
    "depth_conv.conv.7to5_matrix": "depthwise_conv.conv.trans_matrix_7to5",
    "inverted_bottleneck.": "expand_conv.",
    "depth_conv.": "depthwise_conv.",
    "point_linear.": "linear_conv.",
}
_OUTER = {
    "first_conv.": "backbone.first_conv.",
    "final_expand_layer.": "backbone.last_conv.final_expand_layer.",
    "feature_mix_layer.": "backbone.last_conv.feature_mix_layer.",
    "classifier.linear.": "head.fc.",
}


def razor_key(key: str, depths: Sequence[int] = SUPERNET_DEPTHS) -> str:
    """MMRazor's name of an official key, old or new, elastic or static.

    Args:
        depths: blocks per layer, the fixed first one included: official blocks are numbered through.

    Raises:
        FileFormatError: no key of a Once-for-All MobileNetV3, or a block beyond the depths.
    """
    match = _OFFICIAL_BLOCK.fullmatch(key)
    if match is None:
        return PREFIX + _renamed(key.replace(".linear.linear.", ".linear."), _OUTER)
    layer, block = _layer_of(int(match[1]), depths)
    rest = _renamed(match[2], _PARTS).replace(".conv.conv.", ".conv.").replace(".bn.bn.", ".bn.")
    return f"{PREFIX}backbone.layer{layer}.{block}.{rest}"


def official_key(key: str, depths: Sequence[int] = SUPERNET_DEPTHS, elastic: bool = True) -> str:
    """The official name of one of MMRazor's keys, the inverse of `razor_key`.

    Args:
        depths: see `razor_key`.
        elastic: names of an elastic network, which has `conv.conv` and `bn.bn` where a static one has `conv` and `bn`.

    Raises:
        FileFormatError: no key of MMRazor's Once-for-All network, or a block beyond the depths.
    """
    key = key.removeprefix(PREFIX)
    match = _RAZOR_BLOCK.fullmatch(key)
    if match is None:
        return _renamed(key, {theirs: ours for ours, theirs in _OUTER.items()})
    layer, block, rest = int(match[1]), int(match[2]), match[3]
    if not 1 <= layer <= len(depths) or block >= depths[layer - 1]:
        raise FileFormatError(f"{key} is not among the blocks of depths {list(depths)}")
    rest = _renamed(rest, {theirs: ours for ours, theirs in _PARTS.items()})
    if elastic and layer > 1 and ".se." not in rest:
        rest = re.sub(r"\.(conv\.weight|bn\.)", lambda found: f".{found[1].partition('.')[0]}.{found[1]}", rest)
    return f"blocks.{sum(depths[: layer - 1]) + block}.conv.{rest}"


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for before, after in names.items():
        if key.startswith(before):
            return after + key[len(before) :]
    raise FileFormatError(f"{key} is no tensor of a Once-for-All MobileNetV3")


def _layer_of(index: int, depths: Sequence[int]) -> tuple[int, int]:
    """Layer (from 1) and block in it (from 0) of a block that is numbered through."""
    for layer, depth in enumerate(depths, start=1):
        if index < depth:
            return layer, index
        index -= depth
    raise FileFormatError(f"depths {list(depths)} have {sum(depths)} blocks; the checkpoint has more")


def is_mmrazor(tensors: Mapping[str, Any]) -> bool:
    """Whether the names are MMRazor's."""
    return any(str(key).removeprefix(PREFIX).startswith("backbone.") for key in tensors)


def to_mmrazor(tensors: Mapping[str, Any], depths: Sequence[int] | None = None) -> dict[str, Any]:
    """Tensors under MMRazor's names.

    Args:
        tensors: of an official supernet or sub-network, by official names, old or new.
        depths: blocks per layer, the fixed first one included; None: read off the widths.

    Raises:
        FileFormatError: other tensors, or depths that do not fit them.
    """
    tensors = {str(key): value for key, value in tensors.items()}
    depths = _checked_depths(tensors, depths)
    return {razor_key(key, depths): value for key, value in tensors.items()}


def to_official(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors under the official names, the inverse of `to_mmrazor`; static names where there are no kernel matrices.

    Where some keys lie under `architecture.`, the others belong to the algorithm around the network and are left out.

    Raises:
        FileFormatError: tensors of something else.
    """
    tensors = {str(key): value for key, value in tensors.items()}
    if any(key.startswith(PREFIX) for key in tensors):
        tensors = {key: value for key, value in tensors.items() if key.startswith(PREFIX)}
    blocks: dict[int, int] = {}
    for key in tensors:
        if match := _RAZOR_BLOCK.fullmatch(key.removeprefix(PREFIX)):
            blocks[int(match[1])] = max(blocks.get(int(match[1]), 0), int(match[2]) + 1)
    if len(blocks) > len(SUPERNET_DEPTHS):
        raise FileFormatError(
            f"the checkpoint has {len(blocks)} layers: a network of the AttentiveNAS space, which is not read"
        )
    depths = [blocks.get(layer, 0) for layer in range(1, max(blocks, default=0) + 1)]
    elastic = any("trans_matrix" in key for key in tensors)
    return {official_key(key, depths, elastic): value for key, value in tensors.items()}


def _checked_depths(tensors: Mapping[str, Any], depths: Sequence[int] | None) -> Sequence[int]:
    """The depths given, or those that the output widths of the blocks tell; they must agree."""
    widths: dict[int, int] = {}
    blocks: set[int] = set()
    for key, value in tensors.items():
        match = _OFFICIAL_BLOCK.fullmatch(key)
        if match:
            blocks.add(int(match[1]))
        if match and match[2] in ("point_linear.conv.weight", "point_linear.conv.conv.weight"):
            if not (shape := getattr(value, "shape", ())):
                raise FileFormatError(f"{key} is no weight of a convolution")
            widths[int(match[1])] = shape[0]
    if lacking := sorted(blocks - set(widths)):
        raise FileFormatError(f"the checkpoint lacks the point_linear.conv.weight of block {lacking[0]}")
    if sorted(widths) != list(range(len(widths))) or not widths:
        raise FileFormatError("the checkpoint holds no blocks of a Once-for-All MobileNetV3, numbered from 0")
    if not any(key.startswith("final_expand_layer.") for key in tensors):
        raise FileFormatError("the checkpoint has no final_expand_layer; MMRazor has Once-for-All's MobileNetV3 only")
    told = [1]
    for index in range(1, len(widths)):
        if index == 1 or widths[index] != widths[index - 1]:
            told.append(0)
        told[-1] += 1
    chosen = told if depths is None else list(depths)
    # Neighbouring layers of equal width cannot be told apart; otherwise both lists must say the same.
    if len(chosen) != len(SUPERNET_DEPTHS) or sum(chosen) != sum(told) or not set(_ends(told)) <= set(_ends(chosen)):
        raise FileFormatError(
            f"depths {chosen} do not fit the checkpoint: the widths of its {len(widths)} blocks change after {told}"
        )
    return chosen


def _ends(depths: Sequence[int]) -> list[int]:
    """How many blocks lie before the end of each layer."""
    return list(accumulate(depths))

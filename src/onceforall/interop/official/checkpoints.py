"""Checkpoints of the official Once-for-All project: its key names, old and new, and ours."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import FileFormatError
from ...space import MobileLayout
from ...supernets import Supernet

_OUTER = {
    "stem.weight": "first_conv.conv.weight",
    "stem_bn.": "first_conv.bn.",
    "first.depthwise.weight": "blocks.0.conv.depth_conv.conv.weight",
    "first.depthwise_bn.": "blocks.0.conv.depth_conv.bn.",
    "first.project.weight": "blocks.0.conv.point_linear.conv.weight",
    "first.project_bn.": "blocks.0.conv.point_linear.bn.",
    "expand.weight": "final_expand_layer.conv.weight",
    "expand_bn.": "final_expand_layer.bn.",
    "mix.weight": "feature_mix_layer.conv.weight",
    "classifier.": "classifier.linear.",
}
_BLOCK = {
    "expand.weight": "inverted_bottleneck.conv.conv.weight",
    "expand_bn.": "inverted_bottleneck.bn.bn.",
    "depthwise.weight": "depth_conv.conv.conv.weight",
    "depthwise_bn.": "depth_conv.bn.bn.",
    "squeeze_excite.": "depth_conv.se.fc.",
    "project.weight": "point_linear.conv.conv.weight",
    "project_bn.": "point_linear.bn.bn.",
}
_POSITION = re.compile(r"stages\.(\d+)\.(\d+)\.(.+)")
_TRANSFORM = re.compile(r"depthwise\.transforms\.(\d+to\d+)")


def official_key(supernet: Supernet, key: str) -> str:
    """The official name of one of our state-dict keys."""
    match = _POSITION.fullmatch(key)
    if match is None:
        return _renamed(key, _OUTER)
    stage, block, rest = int(match[1]), int(match[2]), match[3]
    index = 1 + sum(layout.max_depth for layout in supernet.space.layout.stages[:stage]) + block
    if transform := _TRANSFORM.fullmatch(rest):
        return f"blocks.{index}.conv.depth_conv.conv.{transform[1]}_matrix"
    return f"blocks.{index}.conv.{_renamed(rest, _BLOCK)}"


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        if key.startswith(ours):
            return theirs + key[len(ours) :]
    raise KeyError(key)


def _spellings(official: str) -> set[str]:
    """Every name under which the official loaders accept a key: supernet or static, new or old."""
    static = official.replace(".bn.bn.", ".bn.").replace(".conv.conv.weight", ".conv.weight")
    names = {official, static}
    # Before the block's convolution was called `conv` it was `mobile_inverted_conv`.
    return names | {re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", name) for name in names}


def to_official(supernet: Supernet) -> dict[str, Tensor]:
    """The supernet's tensors under the official names. Raises FileFormatError for families it does not have."""
    _require_mobile(supernet)
    return {official_key(supernet, key): value for key, value in supernet.state_dict().items()}


def load_checkpoint(supernet: Supernet, source: str | Path | Mapping[str, Any], strict: bool = True) -> list[str]:
    """Load an official checkpoint or state dict into a supernet.

    Supernet and static key names are understood, old and new. Static checkpoints (for example the teacher) hold no
    kernel transform matrices: load them with `strict=False`.

    Args:
        source: path of a file for `torch.load`, or the dictionary itself; `{"state_dict": ...}` is unwrapped.
        strict: refuse a checkpoint that lacks keys. Unexpected keys and wrong shapes are always refused.

    Returns:
        The official names that were missing and kept their values.

    Raises:
        FileFormatError: the file is damaged or holds more than tensors, or keys do not fit; they are listed.
    """
    _require_mobile(supernet)
    tensors = dict(source if isinstance(source, Mapping) else _read(Path(source)))
    if "state_dict" in tensors:
        tensors = dict(tensors["state_dict"])
    own = supernet.state_dict()
    names = {spelling: key for key in own for spelling in _spellings(official_key(supernet, key))}
    unexpected = sorted(set(tensors) - set(names))
    loaded = {names[key]: value for key, value in tensors.items() if key in names}
    missing = sorted(official_key(supernet, key) for key in set(own) - set(loaded))
    problems = [f"{len(unexpected)} unexpected keys: {_some(unexpected)}"] if unexpected else []
    if strict and missing:
        problems.append(f"{len(missing)} missing keys: {_some(missing)}")
    for key, value in loaded.items():
        if own[key].dim() == 0 and value.numel() == 1:
            loaded[key] = value.reshape(())  # old files keep batch counters as vectors of one
        elif own[key].shape != value.shape:
            shape, needed = tuple(value.shape), tuple(own[key].shape)
            problems.append(f"{official_key(supernet, key)} has shape {shape}, needs {needed}")
    if problems:
        raise FileFormatError(f"not a checkpoint of {supernet.space.name}: {'; '.join(problems[:4])}")
    supernet.load_state_dict(loaded, strict=False)
    return missing


def _require_mobile(supernet: Supernet) -> None:
    if not isinstance(supernet.space.layout, MobileLayout):
        raise FileFormatError(f"the official project has no family like {supernet.space.name}")


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")


def _read(path: Path) -> dict[str, Any]:
    import pickle

    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except pickle.UnpicklingError as error:
        raise FileFormatError(f"{path} holds more than tensors; it could run code and is refused: {error}") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not a whole torch file ({error})") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors")
    return content

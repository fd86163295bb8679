"""Checkpoints of the official Once-for-All project: its key names, old and new, and ours."""

import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import FileFormatError
from ...files import atomic_path
from ...space import BottleneckLayout, MobileLayout
from ...supernets import Supernet

_MOBILE = {
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
# ProxylessNAS has one layer behind its blocks, under the name that MobileNetV3 gives its second.
_PROXYLESS = _MOBILE | {"expand.weight": "feature_mix_layer.conv.weight", "expand_bn.": "feature_mix_layer.bn."}
_MOBILE_BLOCK = {
    "expand.weight": "conv.inverted_bottleneck.conv.conv.weight",
    "expand_bn.": "conv.inverted_bottleneck.bn.bn.",
    "depthwise.weight": "conv.depth_conv.conv.conv.weight",
    "depthwise.transforms.7to5": "conv.depth_conv.conv.7to5_matrix",
    "depthwise.transforms.5to3": "conv.depth_conv.conv.5to3_matrix",
    "depthwise_bn.": "conv.depth_conv.bn.bn.",
    "squeeze_excite.": "conv.depth_conv.se.fc.",
    "project.weight": "conv.point_linear.conv.conv.weight",
    "project_bn.": "conv.point_linear.bn.bn.",
}
_BOTTLENECK = {
    "stem_first.conv.": "input_stem.0.conv.conv.",
    "stem_first.bn.": "input_stem.0.bn.bn.",
    "stages.0.0.conv.": "input_stem.1.conv.conv.conv.",
    "stages.0.0.bn.": "input_stem.1.conv.bn.bn.",
    "stem_last.conv.": "input_stem.2.conv.conv.",
    "stem_last.bn.": "input_stem.2.bn.bn.",
    "classifier.": "classifier.linear.linear.",
}
_BOTTLENECK_BLOCK = {
    **{f"conv{number}.": f"conv{number}.conv.conv." for number in (1, 2, 3)},
    **{f"bn{number}.": f"conv{number}.bn.bn." for number in (1, 2, 3)},
    "shortcut.": "downsample.conv.conv.",
    "shortcut_bn.": "downsample.bn.bn.",
}
_POSITION = re.compile(r"stages\.(\d+)\.(\d+)\.(.+)")
# What the official loaders rewrite when a key is not known as it is: the first that matches, and only once. It lets
# the keys of static networks into supernets. The ResNet loader knows the last three.
_ALIASES = (
    (".bn.bn.", ".bn."),
    (".conv.conv.weight", ".conv.weight"),
    (".linear.linear.", ".linear."),
    (".linear.", ".linear.linear."),
    ("bn.", "bn.bn."),
    ("conv.weight", "conv.conv.weight"),
)


def official_key(supernet: Supernet, key: str) -> str:
    """The official name of one of our state-dict keys."""
    layout = supernet.space.layout
    if isinstance(layout, BottleneckLayout):
        outer, inner, before = _BOTTLENECK, _BOTTLENECK_BLOCK, -1  # the stem's block is no official block
    else:
        assert isinstance(layout, MobileLayout)
        outer, inner, before = _MOBILE if layout.mix_width else _PROXYLESS, _MOBILE_BLOCK, 1
    match = _POSITION.fullmatch(key)
    if match is None or (match[1] == "0" and before < 0):
        return _renamed(key, outer)
    stage, block = int(match[1]), int(match[2])
    index = before + sum(stage_layout.max_depth for stage_layout in layout.stages[:stage]) + block
    return f"blocks.{index}.{_renamed(match[3], inner)}"


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        if key.startswith(ours):
            return theirs + key[len(ours) :]
    raise KeyError(key)


def _resolved(key: str, known: Container[str], mobile: bool) -> str:
    """The official name that a key of a checkpoint stands for; itself when there is none."""
    # Before the block's convolution was called `conv` it was `mobile_inverted_conv`.
    key = key.replace(".mobile_inverted_conv.", ".conv.") if mobile else key
    if key in known:
        return key
    for written, meant in _ALIASES if mobile else _ALIASES[3:]:
        if written in key:
            return key.replace(written, meant)
    return key


def to_official(supernet: Supernet) -> dict[str, Tensor]:
    """The supernet's tensors under the official names. Raises FileFormatError for families it does not have."""
    _require_official(supernet)
    return {official_key(supernet, key): value for key, value in supernet.state_dict().items()}


def load_checkpoint(
    supernet: Supernet, source: str | Path | Mapping[str, Any], strict: bool = True, other_classes: bool = False
) -> list[str]:
    """Load an official checkpoint or state dict into a supernet: MobileNetV3, ProxylessNAS, ResNet50 or CompOFA.

    Supernet and static key names are understood, old and new. Static checkpoints (for example the teacher) hold no
    kernel transform matrices: load them with `strict=False`. Where kernels are fixed (CompOFA) matrices are ignored.

    Args:
        source: path of a file for `torch.load`, or the dictionary itself; `{"state_dict": ...}` is unwrapped.
        strict: refuse a checkpoint that lacks keys. Unexpected keys and wrong shapes are always refused.
        other_classes: leave the classifier out when the checkpoint has another number of classes.

    Returns:
        The official names that kept their values: missing, or a classifier left out.

    Raises:
        FileFormatError: the file is damaged or holds more than tensors, or keys do not fit; they are listed.
    """
    _require_official(supernet)
    tensors = dict(source if isinstance(source, Mapping) else read_torch_file(source))
    if isinstance(tensors.get("state_dict"), Mapping):
        tensors = dict(tensors["state_dict"])
    tensors = {str(key): value for key, value in tensors.items()}
    own = supernet.state_dict()
    names = {official_key(supernet, key): key for key in own}
    mobile = isinstance(supernet.space.layout, MobileLayout)
    resolved = {key: _resolved(key, names, mobile) for key in tensors}
    if all(len(choices.kernel_sizes) == 1 for choices in supernet.space.stages):
        resolved = {key: name for key, name in resolved.items() if not name.endswith("_matrix")}
    unexpected = sorted(key for key, name in resolved.items() if name not in names)
    loaded = {names[name]: tensors[key] for key, name in resolved.items() if name in names}
    if strange := [key for key, value in loaded.items() if not isinstance(value, Tensor)]:
        kind, name = type(loaded[strange[0]]).__name__, official_key(supernet, strange[0])
        raise FileFormatError(f"not a checkpoint of {supernet.space.name}: {name} is no tensor but of type {kind}")
    classifier = {key for key in loaded if key.startswith("classifier.") and loaded[key].shape != own[key].shape}
    if other_classes:
        loaded = {key: value for key, value in loaded.items() if key not in classifier}
    missing = sorted(official_key(supernet, key) for key in set(own) - set(loaded))
    problems = [f"{len(unexpected)} unexpected keys: {_some(unexpected)}"] if unexpected else []
    left_out = classifier if other_classes else set()
    if strict and (lacking := [name for name in missing if names[name] not in left_out]):
        problems.append(f"{len(lacking)} missing keys: {_some(lacking)}")
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


def _require_official(supernet: Supernet) -> None:
    if not isinstance(supernet.space.layout, MobileLayout | BottleneckLayout):
        raise FileFormatError(f"the official project has no family like {supernet.space.name}")


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")


def read_torch_file(path: str | Path) -> dict[str, Any]:
    """The dictionary of tensors and plain values in a torch file.

    Raises:
        FileFormatError: it is missing, damaged, or needs more than tensors and could run code.
    """
    import torch

    try:
        with Path(path).open("rb") as file:
            start = file.read(16)
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}") from error
    if not start.startswith((b"PK", b"\x80")):  # a zip archive, or before torch 1.6 a pickle
        raise FileFormatError(f"{path} is not a torch file: it {f'begins with {start}' if start else 'is empty'}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        said = str(error).partition("WeightsUnpickler error: ")[2] or str(error)  # without the advice around it
        if foreign := re.search(r"GLOBAL ([\w.]+)", said):
            raise FileFormatError(
                f"{path} holds more than tensors; it could run code and is refused: {foreign[1]}"
            ) from error
        reason = said.strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise FileFormatError(f"{path} is not a whole torch file ({reason})") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def write_torch_file(path: str | Path, tensors: Mapping[str, Tensor], beside: Mapping[str, Any] | None = None) -> None:
    """Write `{"state_dict": tensors}` as the official project does, and what lies `beside` it. Raises StorageError."""
    import io

    import torch

    content = io.BytesIO()
    torch.save({**(beside or {}), "state_dict": dict(tensors)}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())  # its own writer hides a full disk behind another error

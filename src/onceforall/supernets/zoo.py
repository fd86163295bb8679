"""Supernets by name, and the pair of files a supernet is kept in."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, FileFormatError
from ..files import atomic_path, read_json, tensor_pair, write_json
from ..space import BottleneckLayout, KdwLayout, MobileLayout, ResidualLayout, SearchSpace, create_space, list_spaces
from .base import Supernet
from .bottleneck import BottleneckSupernet
from .kdw import KdwSupernet
from .mobile import MobileSupernet
from .resnet import ResidualSupernet

FORMAT = 1
_TRANSFORMS = ".transforms."  # part of the names of kernel matrices


def list_supernets() -> list[str]:
    """Names that `create_supernet` takes; see `onceforall.space.list_spaces`."""
    return list_spaces()


def create_supernet(
    name: str,
    num_classes: int = 1000,
    in_chans: int = 3,
    dropout: float = 0.0,
    **space_options: Any,
) -> Supernet:
    """A supernet with fresh weights; `onceforall.create_supernet` also takes those of a file.

    Args:
        name: see `list_supernets`.
        dropout: rate before the classifier.
        space_options: resolutions, kernel_sizes, expand_ratios, depths, width_mults, compound; see `create_space`.

    Raises:
        ConfigError: unknown name or option.
    """
    return build_supernet(create_space(name, num_classes, in_chans, **space_options), dropout)


def build_supernet(space: SearchSpace, dropout: float = 0.0) -> Supernet:
    """The supernet of a space, with fresh weights."""
    kinds = {
        MobileLayout: MobileSupernet,
        BottleneckLayout: BottleneckSupernet,
        ResidualLayout: ResidualSupernet,
        KdwLayout: KdwSupernet,
    }
    return kinds[type(space.layout)](space, dropout)


def save_supernet(supernet: Supernet, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
    """Write weights and description; the description goes last, so it never names weights that are not there."""
    from safetensors.torch import save

    weights, description = tensor_pair(path)
    tensors = {key: value.detach().cpu().contiguous() for key, value in supernet.state_dict().items()}
    with atomic_path(weights) as temporary:
        temporary.write_bytes(save(tensors))  # its own writer hides a full disk behind another error
    write_json(description, {"format": FORMAT, "space": supernet.space.to_dict(), **(metadata or {})})


def load_supernet(path: str | Path) -> Supernet:
    """The supernet that `Supernet.save` wrote, in eval mode.

    Args:
        path: with or without the suffix .safetensors or .json.

    Raises:
        FileFormatError: a file is missing, truncated, or of another network.
    """
    description = read_supernet_description(path)
    try:
        space = SearchSpace.from_dict(description["space"])
    except (KeyError, ConfigError) as error:
        raise FileFormatError(f"{tensor_pair(path)[1]} does not describe a search space ({error})") from error
    supernet = build_supernet(space)
    load_weights(supernet, path)
    return supernet.eval()


def read_supernet_description(path: str | Path) -> dict[str, Any]:
    """The JSON beside the weights: format, space, and what `save` was given (classes, mean, std, ...)."""
    file = tensor_pair(path)[1]
    description = read_json(file)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise FileFormatError(f"{file} is not the description of a supernet of format {FORMAT}")
    return description


def load_weights(supernet: Supernet, path: str | Path, other_classes: bool = False) -> list[str]:
    """Load saved weights strictly; with `other_classes` a classifier of another size is left out.

    A supernet without kernel matrices also takes weights whose matrices are all the identity, as they are before
    smaller kernels have been trained.

    Returns:
        The keys left out.

    Raises:
        FileFormatError: names the keys that are missing, unexpected, or of another shape.
    """
    tensors = _read_tensors(tensor_pair(path)[0])
    own = supernet.state_dict()
    if not any(_TRANSFORMS in key for key in own):
        tensors = {k: v for k, v in tensors.items() if _TRANSFORMS not in k or not is_identity(v)}
    if other_classes:
        tensors = {k: v for k, v in tensors.items() if "classifier" not in k or k not in own or own[k].shape == v.shape}
    expected = {k for k in own if not other_classes or "classifier" not in k or k in tensors}
    problems = [f"missing {key}" for key in sorted(expected - set(tensors))]
    problems += [f"unexpected {key}" for key in sorted(set(tensors) - set(own))]
    problems += [
        f"{key} has shape {tuple(tensors[key].shape)}, needs {tuple(own[key].shape)}"
        for key in sorted(set(own) & set(tensors))
        if own[key].shape != tensors[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise FileFormatError(f"{path} does not fit a {supernet.space.name} supernet: {'; '.join(problems[:3])}{more}")
    supernet.load_state_dict(tensors, strict=False)
    return sorted(set(own) - set(tensors))


def is_identity(matrix: Tensor) -> bool:
    """Whether a kernel matrix leaves the cropped kernel as it is."""
    return torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))


def _read_tensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except FileNotFoundError as error:
        raise FileFormatError(f"{file} does not exist") from error
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"{file} is not a whole safetensors file ({error})") from error

"""HDF5 parameter files of NNablaNAS, both ways."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import FileFormatError, MissingExtra
from ...files import atomic_path
from ...supernets import Supernet
from ...supernets.zoo import is_identity
from .names import as_array, from_layout, is_trained, parameter_names

_STEP = re.compile(r"(\d)to(\d)_matrix$")


def load_h5(network: nn.Module, path: str | Path, strict: bool = True, other_classes: bool = False) -> list[str]:
    """Load an HDF5 parameter file into a supernet, or into a network that `extract` made.

    Files of elastic and of static networks are understood. A network has matrices only for the steps between its own
    kernel sizes: those of steps below them, which no layer of the file has, keep their values. One step from 7x7 to
    3x3 is read as two, of which the first is the identity. Matrices that are the identity are no obstacle to a supernet
    without them.

    Args:
        network: an mbv3 or resnet50 supernet, or one of its extracted networks.
        strict: refuse a file unless it holds every parameter in the right shape and no other. Otherwise load what fits
            by name and shape, as NNablaNAS does.
        other_classes: leave the classifier out when the file has another number of classes.

    Returns:
        What was not loaded, one text each.

    Raises:
        FileFormatError: not a whole HDF5 file, no parameter file, or in strict mode one of another network; what is
            missing, unexpected or of another shape is listed. MissingExtra: h5py is not installed.
    """
    found = _read(Path(path))
    own = network.state_dict()
    loaded: dict[str, Tensor] = {}
    used: set[str] = set()
    problems: list[str] = []
    excused: list[str] = []
    all_names = parameter_names(network)
    if any(names[0].endswith("_matrix") for names in all_names.values()):
        found = _in_two_steps(found)
    else:
        found = {name: t for name, t in found.items() if not (name.endswith("_matrix") and is_identity(t))}
    steps = _steps(found)
    for key, names in all_names.items():
        name = next((name for name in names if name in found), None)
        if name is None:
            (excused if _is_below(names[0], steps) else problems).append(f"missing {names[0]}")
            continue
        used.add(name)
        tensor = from_layout(name, found[name])
        if tensor.shape == own[key].shape:
            loaded[key] = tensor.to(own[key].dtype)
            continue
        text = f"{name} {_difference(tensor.shape, own[key].shape)}"
        (excused if other_classes and name.startswith("classifier/") else problems).append(text)
    problems += [f"unexpected {name}" for name in sorted(set(found) - used)]
    if strict and problems:
        listed = "; ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")
        # Other classes or channels alone make no sub-network of the largest one.
        if isinstance(network, Supernet) and _is_static(found) and any("blocks/" in text for text in problems):
            raise FileFormatError(
                f"{path} holds one sub-network, not a supernet {network.space.name}; ofa evaluate and ofa convert "
                f"to=official or to=mmrazor take it with arch=: {listed}"
            )
        raise FileFormatError(f"{path} does not hold the parameters of this network: {listed}")
    network.load_state_dict(loaded, strict=False)
    return problems + excused


def save_h5(network: nn.Module, path: str | Path) -> None:
    """Write a supernet, or a network that `extract` made, as an HDF5 parameter file under NNablaNAS's names.

    Raises:
        FileFormatError: a network NNablaNAS does not have. StorageError: the place is not writable or the disk full.
    """
    h5py = _h5py()
    state = network.state_dict()
    names = parameter_names(network)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for index, (key, (name, *_)) in enumerate(names.items()):
            dataset = file.create_dataset(name, data=as_array(name, state[key]))
            dataset.attrs["need_grad"] = is_trained(name)
            dataset.attrs["index"] = index


def _difference(shape: torch.Size, needed: torch.Size) -> str:
    if len(shape) == len(needed) == 4 and shape[:2] == needed[:2]:
        return f"has kernels of {shape[2]}x{shape[3]}; this network needs a file with {needed[2]}x{needed[3]}"
    return f"has shape {tuple(shape)}, needs {tuple(needed)}"


def holds_static_network(path: str | Path) -> bool:
    """Whether an HDF5 parameter file holds a static network, of any size. Raises FileFormatError."""
    return _is_static(_read(Path(path)))


def _is_static(names: Iterable[str]) -> bool:
    """Elastic layers keep their batch norm in one of their own."""
    return not any("/bn/bn/" in name for name in names)


def _steps(names: Iterable[str]) -> set[tuple[int, int]]:
    """The pairs of kernel sizes, larger and smaller, between which there are matrices."""
    return {(int(match[1]), int(match[2])) for name in names if (match := _STEP.search(name))}


def _is_below(name: str, steps: set[tuple[int, int]]) -> bool:
    """Whether a parameter is the matrix of a step that begins where all of a file's steps have ended."""
    match = _STEP.search(name)
    return match is not None and all(smaller >= int(match[1]) for _, smaller in steps)


def _in_two_steps(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file of kernel sizes 7 and 3 alone with the steps of our supernets.

    The 5x5 in between is then the centre of the 7x7, whose own centre the one matrix takes: the same 3x3.
    """
    if _steps(found) != {(7, 3)}:
        return found
    split: dict[str, Tensor] = {}
    for name, tensor in found.items():
        split[name.replace("7to3_matrix", "5to3_matrix")] = tensor
        if name.endswith("7to3_matrix"):
            split[name.replace("7to3_matrix", "7to5_matrix")] = torch.eye(25)
    return split


def _read(path: Path) -> dict[str, Tensor]:
    """All datasets of a file by their path. Raises FileFormatError."""
    h5py = _h5py()
    found: dict[str, Tensor] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = torch.from_numpy(item[()])

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist") from error
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is not a whole HDF5 parameter file ({error})") from error
    if not found:
        raise FileFormatError(f"{path} is an HDF5 file without parameters")
    return found


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("HDF5 weights need h5py; install it with: pip install 'onceforall[nnablanas]'") from error
    return h5py

"""The weights that `ofa convert` reads and writes: of supernets, under the names of four projects."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, FileFormatError
from ..space import SearchSpace, create_space
from .screen import millions

if TYPE_CHECKING:
    from torch import Tensor

    from ..supernets import Supernet
    from .convert import ConvertConfig


def to_supernet(config: "ConvertConfig", out: Path) -> str:
    """Our pair of files, .safetensors and .json."""
    supernet, description = _read(config)
    supernet.save(out)
    return description


def to_official(config: "ConvertConfig", out: Path) -> str:
    """A torch file with the official names; that of a sub-network of MMRazor is renamed as it is."""
    from ..interop import mmrazor, official
    from ..interop.mmrazor.keys import is_mmrazor

    if config.arch is None and (tensors := _torch_tensors(_path(config))) and is_mmrazor(tensors):
        mmrazor.convert_checkpoint(_path(config), out, to="official")
        return "tensors of MMRazor under official names"
    tensors, description = _official_tensors(config)
    official.write_torch_file(out, tensors)
    return description


def to_mmrazor(config: "ConvertConfig", out: Path) -> str:
    """A torch file with MMRazor's names; an official one, of a supernet or a sub-network, is renamed as it is."""
    from ..interop import mmrazor, official

    if config.arch is None and _torch_tensors(_path(config)) is not None:
        mmrazor.convert_checkpoint(_path(config), out, depths=config.depth)
        return "official tensors under the names of MMRazor"
    tensors, description = _official_tensors(config)
    official.write_torch_file(out, mmrazor.to_mmrazor(tensors, config.depth))
    return description


def to_nnablanas(config: "ConvertConfig", out: Path) -> str:
    """An HDF5 file with NNablaNAS's names."""
    from ..interop.nnablanas import save_h5

    supernet, description = _read(config)
    save_h5(supernet, out)
    return description


def _official_tensors(config: "ConvertConfig") -> "tuple[dict[str, Tensor], str]":
    """The tensors of the supernet in the source under official names, or only those of the network `arch` names."""
    from ..interop import mmrazor, official
    from .arch_argument import parse_arch

    supernet, description = _read(config)
    if config.arch is None:
        return official.to_official(supernet), description
    arch = parse_arch(config.arch, supernet.space, any_resolution=True)
    return mmrazor.subnet_tensors(supernet, arch), f"network {arch.name} of {description}"


def _path(config: "ConvertConfig") -> Path:
    return Path(str(config.source))


def _torch_tensors(path: Path) -> "dict[str, Tensor] | None":
    """The tensors of a torch file; None for our files and those of NNablaNAS."""
    from ..interop import official

    ours = path.suffix in (".safetensors", ".json") or path.with_name(path.name + ".safetensors").is_file()
    if ours or path.suffix in (".h5", ".hdf5"):
        return None
    content = official.read_torch_file(path)
    return content["state_dict"] if isinstance(content.get("state_dict"), dict) else content


def _read(config: "ConvertConfig") -> tuple["Supernet", str]:
    """The supernet in any weights file, and what it is in words."""
    from ..interop import nnablanas
    from ..supernets import build_supernet, load_supernet
    from .arch_argument import parse_arch

    path = _path(config)
    tensors = _torch_tensors(path)
    lacking: list[str] = []
    if tensors is not None:
        try:
            supernet, lacking = _of_tensors(config, tensors)
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}") from error
    elif path.suffix in (".h5", ".hdf5"):
        if config.space is None:
            raise ConfigError(f"{path} does not tell its search space; name it with space=...")
        supernet = build_supernet(_space(config, create_space(config.space)))
        if config.arch is None:
            lacking = nnablanas.load_h5(supernet, path)
        else:
            nnablanas.load_checkpoint(supernet, path, parse_arch(config.arch, supernet.space, any_resolution=True))
    else:
        supernet = load_supernet(path)
    params = millions(sum(parameter.numel() for parameter in supernet.parameters()))
    text = f"supernet {supernet.space.name}, {supernet.space.layout.num_classes} classes, {params} parameters"
    return supernet, text + (f" ({len(lacking)} kernel matrices that it lacks are the identity)" if lacking else "")


def _of_tensors(config: "ConvertConfig", tensors: "dict[str, Tensor]") -> "tuple[Supernet, list[str]]":
    """The supernet in the tensors of a torch file, and what keeps its value. Raises FileFormatError."""
    from ..interop import mmrazor, official
    from ..interop.mmrazor.keys import is_mmrazor
    from ..supernets import build_supernet

    if is_mmrazor(tensors):
        tensors = mmrazor.to_official(tensors)
    supernet = build_supernet(_space(config, official.space_from_tensors(tensors)))
    if mmrazor.holds_subnet(tensors, supernet):
        raise FileFormatError(
            f"it holds one sub-network, not a supernet {supernet.space.name}; ofa evaluate takes it with arch=, and "
            "ofa convert to=official or to=mmrazor renames its tensors"
        )
    has_matrices = any(str(key).endswith("_matrix") for key in tensors)
    lacking = official.load_checkpoint(supernet, tensors, strict=has_matrices)
    if foreign := [name for name in lacking if not name.endswith("_matrix")]:
        shown = ", ".join(foreign[:5])
        raise FileFormatError(f"not a supernet {supernet.space.name}: it lacks {len(foreign)}: {shown}")
    return supernet, lacking


def _space(config: "ConvertConfig", told: SearchSpace) -> SearchSpace:
    """The space that was named, else the one the file tells."""
    classes = config.num_classes or told.layout.num_classes
    return create_space(config.space or told.name, classes, told.layout.in_chans)

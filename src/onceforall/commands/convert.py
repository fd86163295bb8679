"""`ofa convert`: checkpoints and architectures of other projects into ours, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..configuration import check_least
from ..errors import ConfigError
from ..settings import nearest, setting
from . import convert_arch, convert_weights, experiment_file
from .screen import console

_SUFFIXES = {".safetensors", ".json", ".pth", ".pt", ".h5", ".hdf5", ".yaml", ".yml", ".config"}


@dataclass
class ConvertConfig:
    """What is read, and what is written."""

    source: str | None = setting(None, "file, folder or JSON text to read; what it is shows in its content")
    to: str | None = setting(
        None,
        "weights: supernet (ours), official, mmrazor, nnablanas; "
        "an architecture: arch (ours), arch_dict, net_config, genotype, yaml (MMRazor); "
        "an experiment of NNablaNAS: config (ours, for ofa train experiment=FILE)",
    )
    out: str | None = setting(None, "file or folder to write; null: the name of the source in this folder")
    space: str | None = setting(None, "search space of the source, for example mbv3_w1.2; null: the one it tells")
    num_classes: int | None = setting(None, "classes of the weights; null: what the source tells, else 1000")
    resolution: int | None = setting(None, "image size of the architecture in pixels; null: what the source tells")
    depth: list[int] | None = setting(
        None, "to=mmrazor: blocks per layer with the fixed first one, [1,4,4,4,4,4] for a supernet; null: what fits"
    )
    arch: str | None = setting(
        None, "to=official, to=mmrazor: cut the weights of this sub-network out of the supernet; a file or JSON text"
    )
    op_candidates: list[str] | None = setting(None, "what the numbers of a genotype mean; null: NNablaNAS's nine")
    processes: int = setting(
        1, "to=config: processes of the run; NNablaNAS's JSON files say how many images each of them sees"
    )
    strict: bool = setting(True, "refuse genotypes NNablaNAS would misread; false: read them as it does")


class Kind(NamedTuple):
    """What `to=` can be: how it is written (returns what was read, in words), and how such a file is called."""

    write: Callable[[ConvertConfig, Path], str]
    suffix: str


KINDS = {
    "supernet": Kind(convert_weights.to_supernet, ".safetensors"),
    "official": Kind(convert_weights.to_official, ".pth"),
    "mmrazor": Kind(convert_weights.to_mmrazor, ".pth"),
    "nnablanas": Kind(convert_weights.to_nnablanas, ".h5"),
    "arch": Kind(convert_arch.to_arch, ".json"),
    "arch_dict": Kind(convert_arch.to_arch_dict, ".json"),
    "net_config": Kind(convert_arch.to_net_config, ""),
    "genotype": Kind(convert_arch.to_genotype, ".json"),
    "yaml": Kind(convert_arch.to_yaml, ".yaml"),
    "config": Kind(experiment_file.to_config, ".yaml"),
}


def convert(config: ConvertConfig) -> Path:
    """Read one file and write another; prints what it was. Returns the path written.

    Raises:
        ConfigError: a kind that does not exist, or a source that does not tell its space.
        FileFormatError: the source is missing, damaged or of another kind; nothing is written.
        InvalidArch, StorageError.
    """
    if config.source is None or config.to is None:
        raise ConfigError(f"source=PATH and to=KIND are needed; KIND is one of {', '.join(KINDS)}")
    check_least(config, resolution=1)
    if config.to not in KINDS:
        raise ConfigError(f"to={config.to}: no such kind; {nearest(config.to, list(KINDS))}")
    if config.arch is not None and config.to not in ("official", "mmrazor"):
        raise ConfigError(f"arch= cuts weights for to=official or to=mmrazor; to={config.to} takes the whole source")
    kind = KINDS[config.to]
    out = Path(config.out or _name(config.source) + kind.suffix)
    if out.resolve() == Path(config.source).resolve():
        raise ConfigError(f"{out} is the source itself; name another file with out=...")
    described = kind.write(config, out)
    console().print(f"{described}; written: {out}", soft_wrap=True)
    return out


def _name(source: str) -> str:
    """What the result is called when nobody names it."""
    path = Path(source)
    if source.lstrip()[:1] in ("{", "["):
        return "converted"
    if path.name == "net.config":
        return path.resolve().parent.name
    return path.stem if path.suffix in _SUFFIXES else path.name

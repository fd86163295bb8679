"""The architectures that `ofa convert` reads and writes, in the spellings of four projects."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_json, write_text
from ..space import Arch, SearchSpace, create_space
from .screen import millions

if TYPE_CHECKING:
    from .convert import ConvertConfig


def to_arch(config: "ConvertConfig", out: Path) -> str:
    """Our JSON, as `arch=` takes it."""
    space, arch = _read(config)
    write_json(out, arch.to_dict())
    return _described(space, arch)


def to_arch_dict(config: "ConvertConfig", out: Path) -> str:
    """JSON of the official dictionary."""
    from ..interop.official import arch_to_dict

    space, arch = _read(config)
    write_json(out, arch_to_dict(arch))
    return _described(space, arch)


def to_net_config(config: "ConvertConfig", out: Path) -> str:
    """The official folder of net.config and run.config."""
    from ..interop.official import write_net_config

    space, arch = _read(config, guess=False)  # the file tells widths
    write_net_config((space, arch), out)
    return _described(space, arch)


def to_genotype(config: "ConvertConfig", out: Path) -> str:
    """JSON of NNablaNAS's genotype; here op_candidates are those it is written for."""
    from ..interop.nnablanas import OP_CANDIDATES, genotype_from_arch

    space, arch = _read(replace(config, op_candidates=None))
    write_json(out, genotype_from_arch(arch, config.op_candidates or OP_CANDIDATES))
    return _described(space, arch)


def to_yaml(config: "ConvertConfig", out: Path) -> str:
    """MMRazor's sub-network YAML."""
    from ..interop.mmrazor import arch_to_yaml

    space, arch = _read(config)
    write_text(out, arch_to_yaml(arch))
    return _described(space, arch)


def _read(config: "ConvertConfig", guess: bool = True) -> tuple[SearchSpace, Arch]:
    from ..interop.arch_file import read_arch

    return read_arch(
        str(config.source),
        None if config.space is None else create_space(config.space, config.num_classes or 1000),
        resolution=config.resolution,
        op_candidates=config.op_candidates,
        strict=config.strict,
        guess=guess,
    )


def _described(space: SearchSpace, arch: Arch) -> str:
    from ..cost import count_macs, count_params

    macs, params = int(count_macs(space, [arch])[0]), int(count_params(space, [arch])[0])
    size = f"{arch.resolution} px, {millions(params)} parameters, {millions(macs)} MACs"
    return f"network {arch.name} of {space.name}: {size}"

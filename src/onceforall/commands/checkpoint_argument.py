"""`checkpoint=`: the one place that turns a file of weights into a supernet for given architectures, without a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..space import Arch
from .arch_argument import parse_archs, split_archs

if TYPE_CHECKING:
    from ..data import DataSource
    from ..supernets import Supernet
    from .evaluate import EvaluateConfig

MEANING = (
    "weights, in place of a run: of a supernet or of the one sub-network arch names (ours, official, MMRazor's, "
    "NNablaNAS's); none: random ones from the seed"
)


def load_subject(config: "EvaluateConfig", source: "DataSource") -> tuple["Supernet", list[Arch], str]:
    """The supernet that holds the weights, the architectures to evaluate, and what the weights are in words.

    Raises:
        ConfigError: weights for other classes or channels than the images have, or an impossible combination.
        FileFormatError: a file that is damaged, or does not fit the space or the architecture.
    """
    from ..supernets import create_supernet, load_supernet

    path = Path(str(config.checkpoint))
    if path.suffix in (".safetensors", ".json") or path.with_name(path.name + ".safetensors").is_file():
        supernet = load_supernet(path)
        _same_classes(path, supernet.space.layout.num_classes, source)
        if supernet.space.layout.in_chans != source.in_chans:
            raise ConfigError(f"{path} is for {supernet.space.layout.in_chans} channels; set data.in_chans to that")
        return supernet, _archs(config, supernet), f"weights of {path}"
    tensors = None
    if config.checkpoint != "none" and path.suffix not in (".h5", ".hdf5"):
        from ..interop.mmrazor import read_checkpoint

        tensors = read_checkpoint(path)
        if (classifier := tensors.get("classifier.linear.weight")) is not None:
            _same_classes(path, len(classifier), source)
    supernet = create_supernet(config.space, source.num_classes, source.in_chans).eval()
    archs = _archs(config, supernet)
    if config.checkpoint == "none":
        supernet.reset_parameters(config.seed)
        return supernet, archs, f"random weights of seed {config.seed}"
    if tensors is None:
        from ..interop.nnablanas import load_h5

        load_h5(supernet, path)
        return supernet, archs, f"weights of {path}"
    return supernet, archs, _load_torch(supernet, tensors, archs, path)


def _load_torch(supernet: "Supernet", tensors: dict, archs: Sequence[Arch], path: Path) -> str:
    from ..errors import FileFormatError
    from ..interop.mmrazor import load_checkpoint

    try:
        kind = load_checkpoint(supernet, tensors, archs[0])
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    if kind == "supernet":
        return f"weights of the supernet {path}, cut to size"
    if len({arch.stages for arch in archs}) > 1:
        raise ConfigError(f"{path} holds one sub-network; it cannot be evaluated as {len(archs)}")
    return f"weights of the sub-network {path}"


def _archs(config: "EvaluateConfig", supernet: "Supernet") -> list[Arch]:
    """What `arch=` names, at `resolution`; the space of the supernet is widened to their sizes."""
    from .arch_argument import all_archs

    space = supernet.space
    if config.all:
        space = replace(space, resolutions=(config.resolution or space.resolutions[-1],))
        archs = all_archs(space)
    else:
        archs = parse_archs(split_archs(config.arch), space, any_resolution=True)
        if config.resolution is not None:
            archs = [replace(arch, resolution=config.resolution) for arch in archs]
    supernet.space = replace(space, resolutions=tuple(sorted({arch.resolution for arch in archs})))
    return list(dict.fromkeys(archs))


def _same_classes(path: Path, classes: int, source: "DataSource") -> None:
    if classes != source.num_classes:
        raise ConfigError(
            f"{path} tells {classes:,} classes apart, {source.name} has {source.num_classes:,}; set data.root to "
            "images of the classes it was trained on"
        )

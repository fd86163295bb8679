"""`checkpoint=`: the one place that turns a file of weights into a supernet for given architectures, without a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, FileFormatError
from ..space import Arch
from .arch_argument import all_archs, parse_archs, split_archs

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

    Images for weights of ours are normalised as those that they were trained on, unless data.mean or data.std says how.

    Raises:
        ConfigError: weights for other classes or channels than the images have, or an impossible combination.
        FileFormatError: a file that is damaged, or does not fit the space or the architecture.
    """
    path = Path(str(config.checkpoint))
    if path.suffix in (".safetensors", ".json") or path.with_name(path.name + ".safetensors").is_file():
        supernet = _ours(config, path, source)
        return supernet, _archs(config, supernet), f"weights of {path}"

    from ..supernets import create_supernet

    supernet = create_supernet(config.space, source.num_classes, source.in_chans).eval()
    archs = _archs(config, supernet)
    if config.checkpoint == "none":
        supernet.reset_parameters(config.seed)
        return supernet, archs, f"random weights of seed {config.seed}"
    if path.suffix in (".h5", ".hdf5"):
        from ..interop.nnablanas import load_checkpoint

        kind = load_checkpoint(supernet, path, archs[0])
    else:
        kind = _load_torch(supernet, path, archs, source)
    if kind == "supernet":
        return supernet, archs, f"weights of the supernet {path}, cut to size"
    if len({(arch.stages, arch.width_mults) for arch in archs}) > 1:
        raise ConfigError(f"{path} holds one sub-network; it cannot be evaluated as {len(archs)}")
    return supernet, archs, f"weights of the sub-network {path}"


def _ours(config: "EvaluateConfig", path: Path, source: "DataSource") -> "Supernet":
    from ..supernets import load_supernet
    from ..supernets.zoo import read_supernet_description

    supernet, description = load_supernet(path), read_supernet_description(path)
    _same_classes(path, supernet.space.layout.num_classes, source)
    if description.get("classes", source.classes) != source.classes:
        raise ConfigError(
            f"{path} tells other classes apart than {source.name} has; set data.root to images of its own"
        )
    if supernet.space.layout.in_chans != source.in_chans:
        raise ConfigError(f"{path} is for {supernet.space.layout.in_chans} channels; set data.in_chans to that")
    if config.data.mean is None and config.data.std is None and {"mean", "std"} <= set(description):
        source.mean, source.std = tuple(description["mean"]), tuple(description["std"])
    return supernet


def _load_torch(supernet: "Supernet", path: Path, archs: Sequence[Arch], source: "DataSource") -> str:
    from ..interop.mmrazor import load_checkpoint, read_checkpoint

    tensors = read_checkpoint(path)
    for name in ("classifier.linear.weight", "classifier.linear.linear.weight"):
        if name in tensors:
            _same_classes(path, len(tensors[name]), source)
    try:
        return load_checkpoint(supernet, tensors, archs[0])
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _archs(config: "EvaluateConfig", supernet: "Supernet") -> list[Arch]:
    """What `arch=` names, at `resolution`; the space of the supernet is widened to their sizes."""
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
